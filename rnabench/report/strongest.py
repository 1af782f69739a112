"""Which of a record's attacks an attacker would choose: the one that leaves least."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rnabench.report.record import Record, Result
from rnabench.scoring.outcome import Outcome
from rnabench.scoring.tries import all_right


def at_eps(record: Record, results: Iterable[Result] | None = None) -> list[Result]:
    """Of its results (or of these) those under bounded attacks at the evaluation's eps, so that they can be compared.
    """
    return [result for result in (record.results if results is None else results)
            if result.bounded and result.attack != "natural" and result.parameters.get("eps") == record.threat.eps]


def under_paper(record: Record) -> list[Result]:
    """Those of attacks on one frozen path, which others predict after; none of a network without draws, or whose draws
    cannot be frozen: there `paper` acts as `resample`. What was made on another network froze no path of this one."""
    return [result for result in at_eps(record) if result.protocol == "paper" and record.model.replayable is not False
            and result.parameters.get("kind") != "transfer"]


def strongest(record: Record, results: Iterable[Result]) -> Result | None:
    """The result with the lowest accuracy, on the images that all of them saw; the first of equals; None of none."""
    among = list(results)
    least = lowest([record.outcome(result) for result in among])
    return None if least is None else among[least]


def lowest(outcomes: Sequence[Outcome], tries: int = 1) -> int | None:
    """The place of the outcome with the lowest accuracy after so many tries (of those that have as many draws), on the
    images that all of these saw: an attack on few images is not the strongest for lucky ones. None if there is none."""
    able = [place for place, outcome in enumerate(outcomes) if outcome.correct.shape[1] >= tries]
    shared = min((len(outcomes[place].correct) for place in able), default=0)
    return min(able, key=lambda place: float(all_right(outcomes[place].correct[:shared])[:, tries - 1].mean()),
               default=None)
