"""Which of a record's attacks an attacker would choose: the one that leaves least."""

from __future__ import annotations

from collections.abc import Iterable

from rnabench.report.record import Record, Result
from rnabench.scoring.tries import all_right


def at_eps(record: Record, results: Iterable[Result] | None = None) -> list[Result]:
    """Of its results (or of these) those under bounded attacks at the evaluation's eps, so that they can be compared.
    """
    return [result for result in (record.results if results is None else results)
            if result.bounded and result.attack != "natural" and result.parameters.get("eps") == record.threat.eps]


def under_paper(record: Record) -> list[Result]:
    """Those of attacks on one frozen path, which others predict after; none of a network without draws, or whose draws
    cannot be frozen: there `paper` acts as `resample`."""
    return [result for result in at_eps(record) if result.protocol == "paper" and record.model.replayable is not False]


def left(record: Record, result: Result, tries: int = 1) -> float:
    """The accuracy after so many tries (at most as many as draws scored)."""
    return float(all_right(record.outcome(result).correct)[:, tries - 1].mean())


def strongest(record: Record, results: Iterable[Result], tries: int = 1) -> Result | None:
    """The result with the lowest accuracy after so many tries, of those that have as many draws; the first of equals;
    None if there is none."""
    return min((result for result in results if result.draws >= tries),
               key=lambda result: left(record, result, tries), default=None)
