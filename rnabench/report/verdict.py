"""What the numbers say, in sentences: the randomised model against its baseline, and the sanity checks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rnabench.report.methods import Method, methods
from rnabench.report.record import Record
from rnabench.report.scores import averaging, headline
from rnabench.scoring.outcome import Outcome
from rnabench.scoring.significance import ERROR_RATE, holm
from rnabench.scoring.trainings import Compared, compare


@dataclass(frozen=True)
class Beside:
    """A randomised method beside its deterministic baseline: how the worst cases under the same averaging attacks
    compare, or a sentence on why they cannot be. `p_value` is corrected for all `tests` comparisons of the folder; the
    interval is not."""

    method: Method
    baseline: Method
    found: Compared | str
    p_value: float
    tests: int

    @property
    def told_apart(self) -> bool:
        return self.p_value < ERROR_RATE


def verdicts(records: Sequence[Record]) -> list[str]:
    """For each randomised method whose records name a baseline among `records`, which of the two is more robust."""
    return [each.found if isinstance(each.found, str) else _verdict(each, each.found)
            for each in beside_baselines(methods(records))]


def beside_baselines(among: Sequence[Method]) -> list[Beside]:
    """Each randomised method whose records name a baseline among these methods; all share one error rate."""
    pairs = _pairs(among)
    found = [_compared(method, baseline) for method, baseline in pairs]
    made = [each for each in found if isinstance(each, Compared)]
    corrected = iter(holm([each.difference.p_value for each in made]))
    return [Beside(method, baseline, each, 1.0 if isinstance(each, str) else next(corrected), len(made))
            for (method, baseline), each in zip(pairs, found, strict=True)]


def _pairs(among: Sequence[Method]) -> list[tuple[Method, Method]]:
    """The randomised methods, each with its baseline."""
    by_digest = {record.digest: method for method in among for record in method.records}
    found = []
    for method in among:
        named = [record.baseline.digest for record in method.records if record.baseline]
        baseline = next((by_digest[digest] for digest in named if digest in by_digest), None)
        if baseline is not None and method.records[0].model.randomised:
            found.append((method, baseline))
    return found


def _compared(method: Method, baseline: Method) -> Compared | str:
    """A comparison of the worst cases under averaging attacks; a sentence where the two cannot be compared."""
    name, other = method.name, baseline.name
    attacks = {result.attack for record in method.records for result in averaging(record)}
    ours, theirs = _worst_cases(method, attacks), _worst_cases(baseline, attacks)
    if not ours or not _worst_cases(baseline):
        return (f"No attack at the eps of this table averages over paths: whether {name} or {other} is more robust "
                "stays open.")
    if baseline.records[0].model.randomised:
        return f"{other} is randomised itself: it is no deterministic baseline of {name}."
    if (why_not := method.not_comparable(baseline)) is not None:
        return why_not
    met = [{result.attack for result in averaging(record)} for record in (*method.records, *baseline.records)]
    if any(attacks - each for each in met):
        return f"{name} and {other} were attacked with different attacks: they are not compared."
    return compare(ours, theirs)


def _worst_cases(method: Method, attacks: Collection[str] | None = None) -> list[Outcome]:
    """The outcome of each training's headline; empty if one of them has none."""
    found = [headline(record, attacks) for record in method.records]
    return [] if None in found else [each.outcome for each in found if each is not None]


def _verdict(beside: Beside, found: Compared) -> str:
    """Which is more robust under the adaptive suite (or what was run of it), with the difference on the same images."""
    method, baseline = beside.method, beside.baseline
    records = (*method.records, *baseline.records)
    is_adaptive = all(record.headline and record.headline.adaptive_suite for record in method.records)
    suite = ("the adaptive suite" if is_adaptive else
             f"the averaging attacks of suite {records[0].evaluation.suite} (not the adaptive suite)")
    low, high = found.difference.interval()
    numbers = (f"worst case {100 * found.first:.1f} % against {100 * found.second:.1f} %, "
               f"{100 * found.difference.gap:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}], {found.basis}")
    if not beside.told_apart:
        said = f"{method.name} and its deterministic baseline {baseline.name} cannot be told apart"
        seen_from = found.difference.detectable(0.8, 1 - ERROR_RATE / beside.tests)
        numbers += (f"; a difference of {100 * seen_from:.1f} points could have been seen" if seen_from < 1 else
                    "; no difference could have been seen")
    else:
        which = "more" if found.difference.gap > 0 else "less"
        said = f"{method.name} is {which} robust than its deterministic baseline {baseline.name}"
    marred = [record.label for record in records if record.unreliable]
    warning = f" A sanity check of {' and of '.join(marred)} failed: see below." if marred else ""
    return f"Under {suite}, {said}: {numbers}.{warning}"


def sanity_lines(records: Sequence[Record]) -> list[str]:
    """One line per check and model; checks that do not apply are left out."""
    return [f"{flag.status} {record.label} {flag.check} {flag.name}: {flag.text}"
            for record in records for flag in record.sanity.flags if flag.status != "n/a"]
