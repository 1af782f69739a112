"""The threat models that a record covers: what the attacker knows, and how often may be tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rnabench.report.record import Record, Result
from rnabench.report.strongest import at_eps, lowest
from rnabench.report.study import with_interval
from rnabench.scoring.flag import Row
from rnabench.scoring.outcome import Outcome
from rnabench.scoring.tries import by_tries

NOTHING, WEIGHTS, DISTRIBUTION, DRAW = "nothing", "the weights", "the distribution", "this draw"
PROTOCOLS = {NOTHING: "black box", WEIGHTS: "paper", DISTRIBUTION: "resample, eot:K", DRAW: "same-path"}
NOT_RUN = {NOTHING: "neither square nor a transfer attack was run", WEIGHTS: "nothing was run under paper",
           DISTRIBUTION: "nothing was run under eot:K", DRAW: "nothing was run under paper or same-path"}
ONE_DRAW_KNOWN = "one draw per image was attacked"
LEGEND = """\
**the attacker knows**: *nothing* of the network but its outputs, or other networks (Square; images made on another
one); *the weights*, and attacks one draw while another predicts (`paper`); *the distribution* of the draws
(`resample`, `eot:K`); *this draw*, the very one that predicts (`same-path`). **one try**: mean accuracy over draws;
**t tries**: right on all of t draws. Each cell is of the bounded attack that leaves least there, on the images that all
of the cell's attacks saw, with its 95 % interval; how many images follows if they are fewer than the table's. What only
a sanity check ran counts where the table has nothing. A dash says what was not run."""


def display(records: Sequence[Record]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headings, and four lines per randomised network."""
    lines: list[tuple[str, ...]] = []
    most = max((result.draws for record in records for result in record.results), default=1)
    for record in records:
        if not record.model.randomised:
            continue
        known = list(_attacks(record))
        for knows, protocols in PROTOCOLS.items():
            attacks = [each for each in known if each[0] == knows]
            lines.append((record.label, f"{knows} ({protocols})",
                          *(_cell(knows, attacks, tries) for tries in (1, most))))
    return ("model", "the attacker knows", "one try", f"{most} tries"), lines


Attack = tuple[str, Outcome, str]
"""What its attacker knows, what happened, and a note."""


def _attacks(record: Record) -> Iterator[Attack]:
    """Of all bounded attacks at the evaluation's eps; what sanity checks ran only where the table has nothing."""
    table = list(_of(record, record.results))
    yield from table
    covered = {knows for knows, *_ in table}
    yield from (each for each in _of(record, record.sanity.probes) if each[0] not in covered)


def _of(record: Record, results: Sequence[Result]) -> Iterator[Attack]:
    for result in at_eps(record, results):
        outcome = record.outcome(result)
        fewer = f", {result.images} images" if result.images < len(record.data.indices) else ""
        mark = ("!" if result.unreliable else "") + fewer
        if result.protocol == "same-path":
            yield DRAW, outcome, mark
        elif Row(outcome, result.parameters).black_box:
            yield NOTHING, outcome, mark
        elif result.protocol == "paper" and record.model.replayable is not False:
            yield WEIGHTS, outcome, mark
            # the same images on the attacked path itself are what `same-path` measures
            yield DRAW, replace(outcome, protocol="same-path", correct=outcome.reported[:, None]), mark
        else:
            yield DISTRIBUTION, outcome, mark


def _cell(knows: str, attacks: Sequence[Attack], tries: int) -> str:
    """`56.0 [51.8, 60.1] pgd10 / eot:10`, or a dash and why."""
    if not attacks:
        return f"- ({NOT_RUN[knows]})"
    place = lowest([outcome for _, outcome, _ in attacks], tries)
    if place is None:
        return f"- ({ONE_DRAW_KNOWN if knows == DRAW else f'scored on fewer than {tries} draws'})"
    _, outcome, mark = attacks[place]
    left = by_tries(outcome)[tries - 1]
    return f"{with_interval(left.accuracy, list(left.interval))} {' / '.join(outcome.key)}{mark}"
