"""Stochasticity share: how much of the accuracy under `paper` is owed to the draw, and not to the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rnabench.report.record import Record, Result
from rnabench.report.strongest import strongest, under_paper
from rnabench.scoring.interval import Difference, difference

LEGEND = """\
**stochasticity share**: `paper` less `same-path` accuracy, in points, of the same attack on the same images, paired:
what is right only because the prediction draws another path than the attacker's. An attacker who knows the draw takes
it; what is left is the robustness of single paths. A share near 0 says that the draws protect nothing under this
attack, a large one that the number under `paper` rests on the attacker's bad luck."""


@dataclass(frozen=True)
class Share:
    """Of one attack on one record's network; `paper` and `same_path` are accuracies."""

    record: Record
    result: Result
    paper: float
    same_path: float
    difference: Difference

    @property
    def points(self) -> str:
        """`7.7 [5.1, 10.2]`"""
        return "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * each for each in (
            self.difference.gap, *self.difference.interval())))


def share_of(record: Record, result: Result) -> Share:
    """Of a result under `paper`. Who is right on the attacked path itself is part of it (`reported`): `same-path` makes
    the same images, and so adds nothing."""
    outcome = record.outcome(result)
    return Share(record, result, outcome.accuracy, float(outcome.reported.mean()),
                 difference(outcome.correct, outcome.reported[:, None], outcome.groups))


def shares(records: Sequence[Record]) -> list[Share]:
    """Of every bounded attack on one frozen path of a randomised network whose draws can be frozen."""
    return [share_of(record, result) for record in records for result in under_paper(record)]


def display(records: Sequence[Record]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headings, and a line for each."""
    return ("model", "attack", "paper %", "same-path %", "stochasticity share, points [95 %]"), [
        (each.record.label, each.result.attack, f"{100 * each.paper:.1f}", f"{100 * each.same_path:.1f}",
         each.points + ("!" if each.result.unreliable else ""))
        for each in shares(records)]


def sentences(records: Sequence[Record]) -> list[str]:
    """What it says of each randomised network under the attack that leaves least under `paper`, of those that saw most
    images."""
    said = []
    for record in records:
        attacks = under_paper(record)
        most = max((result.images for result in attacks), default=0)
        result = strongest(record, [result for result in attacks if result.images == most])
        if result is None:
            continue
        share = share_of(record, result)
        low, high = share.difference.interval()
        shown = "" if low > 0 or high < 0 else " (none is shown)"
        said.append(f"Stochasticity share of {record.label}: of the {100 * share.paper:.1f} % that {result.attack} / "
                    f"paper leaves, {share.points} points are owed to the draw{shown}; on the attacked path itself "
                    f"{100 * share.same_path:.1f} % are right.")
    return said
