"""Whether results have moved: new ones against old ones, cell by cell."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any, NamedTuple

from rnabench.errors import RnabenchError
from rnabench.report.accuracies import Accuracy, AccuracyKey, Results
from rnabench.report.change import ONE_TRAINING, ByTraining
from rnabench.report.judgement import (
    MEANING,
    Judgement,
    by_chance,
    by_tolerance,
    trainings,
)
from rnabench.report.staleness import by_other_algorithms
from rnabench.report.table_files import markdown_table
from rnabench.settings.pixels import in_255ths

HEADINGS = ("model", "attack", "protocol", "verdict", "judged by", "old %", "new %", "change", "flagged from")
TEXT_COLUMNS = 5
ABSENT = "absent"
ORDER = {"PASS": 0, "WARN": 1, "FAIL": 2, ABSENT: 2}  # "n/a" says nothing, and is neither better nor worse
OF_CELLS = ("fell", "rose", "vanished", "with other settings", "newly unreliable")
OF_RECORDS = ("records with other settings", "sanity checks worse", "records vanished")


class Problem(NamedTuple):
    """Why a comparison fails: one of OF_CELLS or OF_RECORDS, and the words for this case."""

    kind: str
    text: str


@dataclass(frozen=True)
class ChangedCell:
    """A cell of either side, the mean of several trainings, or what a whole record says (`-` for attack and protocol);
    shares in [0, 1]. `judgement`: of its change, None where there is none to judge."""

    name: AccuracyKey
    old: float | None = None
    new: float | None = None
    problems: tuple[Problem, ...] = ()
    judgement: Judgement | None = None

    @property
    def change(self) -> float | None:
        return None if self.old is None or self.new is None else self.new - self.old

    @property
    def is_new(self) -> bool:
        return self.old is None and self.new is not None

    @property
    def is_notable(self) -> bool:
        """Whether it fails, is new, or moved by more than half of what would fail."""
        limit = self.judgement.flagged_from if self.judgement else None
        return bool(self.problems) or self.is_new or (limit is not None and abs(self.change or 0) > limit / 2)

    @property
    def shown(self) -> tuple[str, ...]:
        """What people read, under HEADINGS."""
        verdict = "; ".join(problem.text for problem in self.problems)
        rule, limit = (self.judgement.rule, self.judgement.flagged_from) if self.judgement else ("-", None)
        return (*self.name, verdict or ("new" if self.is_new else "passes"), rule, _points(self.old), _points(self.new),
                "-" if self.change is None else f"{round(100 * self.change, 1) + 0.0:+.1f}",
                "-" if limit is None else f"±{_points(limit)}")

    @property
    def row(self) -> dict[str, Any]:
        """The same for programs, unrounded."""
        judged = self.judgement
        return {**dict(zip(HEADINGS[:3], self.name, strict=True)),
                "old": self.old, "new": self.new, "change": self.change,
                "passes": not self.problems, "is_new": self.is_new,
                "problems": [problem._asdict() for problem in self.problems],
                **{name: judged and getattr(judged, name) for name in ("rule", "p", "flagged_from")}}


@dataclass(frozen=True)
class Regression:
    """A line per cell, per model whose trainings are judged together, and per record that says something; `notes` are
    sentences on what is no failure.

    `compared`: how many cells the old results have (means of trainings among them), of `records` records and studies;
    `tolerance`: points, None for tests.
    """

    lines: tuple[ChangedCell, ...]
    notes: tuple[str, ...]
    compared: int
    tolerance: float | None
    records: int = 0

    @property
    def failed(self) -> bool:
        return any(line.problems for line in self.lines)

    @property
    def summary(self) -> str:
        """`63 cells compared: 61 pass, 1 fell, 1 vanished`."""
        counts = Counter(kind for line in self.lines for kind in {problem.kind for problem in line.problems})
        good = sum(line.old is not None and not line.problems for line in self.lines)
        within = "pass" if self.tolerance is None else f"within {self.tolerance:g} points"
        cells = [f"{good} {within}", *(f"{counts[kind]} {kind}" for kind in OF_CELLS if counts[kind])]
        records = [f"{kind}: {counts[kind]}" for kind in OF_RECORDS if counts[kind]]
        fresh = sum(line.is_new for line in self.lines)
        said = f"{self.compared} cells compared: {', '.join(cells)}" if self.compared else (
            f"only studies without accuracies compared, {self.records}: whether they are there, and their settings")
        return "; ".join([said, *records,
                          *([f"new cells: {fresh}"] if fresh else [])])

    def rows(self, everything: bool = False) -> list[tuple[str, ...]]:
        """The lines as people read them: what fails, is new or moved notably, or all."""
        return [line.shown for line in self.lines if everything or line.is_notable]


def compare(new: Results, old: Results, tolerance: float | None = None) -> Regression:
    """What has changed from `old` to `new`.

    An accuracy may move, up or down, by what chance allows (the same weights on the same images are paired, networks
    trained anew held against the spread between trainings or else both intervals; 5 % for all cells together), or
    instead by `tolerance` points. Besides, a cell fails that vanished, was measured under other settings or became
    unreliable, and a record whose network (but for its weights), images or sanity checks are not what they were. Seeds,
    times, versions and devices may differ. If either side is a `table.csv`, only what such a table says is compared.
    Raises RnabenchError if `old` has nothing to compare.
    """
    if not (new.sources and old.sources):
        new, old = new.as_table(), old.as_table()
    if not old.cells and not old.sources:
        raise RnabenchError("--against: there are only studies; expected attacked networks beside a table.csv")
    means, in_means = trainings(new, old) if tolerance is None else ({}, set())
    judgements = by_chance(new, old, means, in_means) if tolerance is None else by_tolerance(new, old, tolerance)
    lines = [_cell(key, cell, new.cells.get(key), judgements.get(key)) for key, cell in old.cells.items()]
    lines += [_mean(key, mean, judgements[key]) for key, mean in means.items()]
    lines += [ChangedCell(key, None, cell.accuracy) for key, cell in new.cells.items() if key not in old.cells]
    lines += _records(new, old)
    return Regression(tuple(lines), (*_notes(new, old), *_alone(judgements)), len(old.cells) + len(means), tolerance,
                      len(old.sources))


def markdown(comparison: Regression, title: str, everything: bool = False) -> str:
    """The comparison as a page: verdict, table of differences, notes."""
    verdict = f"**{'FAIL' if comparison.failed else 'PASS'}**: {comparison.summary}."
    shown = comparison.rows(everything)
    table = markdown_table(shown, HEADINGS, TEXT_COLUMNS) if shown else ""
    used = dict.fromkeys(line.judgement.rule for line in comparison.lines if line.judgement)
    notes = [*comparison.notes, *(f"{rule}: {MEANING[rule]}" for rule in used)]
    return "\n\n".join(part for part in (f"# {title}", verdict, table, "\n".join(f"- {note}" for note in notes)) if part
                       ) + "\n"


def _cell(key: AccuracyKey, old: Accuracy, new: Accuracy | None, judgement: Judgement | None) -> ChangedCell:
    if new is None:
        return ChangedCell(key, old.accuracy, problems=(Problem("vanished", "vanished"),))
    problems = [*_moved(new.accuracy - old.accuracy, judgement)]
    if differences := _differences(new.settings, old.settings):
        problems.append(Problem("with other settings", differences))
    if new.unreliable and not old.unreliable:
        problems.append(Problem("newly unreliable", "now unreliable"))
    return ChangedCell(key, old.accuracy, new.accuracy, tuple(problems), judgement)


def _mean(key: AccuracyKey, test: ByTraining, judgement: Judgement) -> ChangedCell:
    new, old = mean(test.new), mean(test.old)
    return ChangedCell(key, old, new, (*_moved(new - old, judgement),), judgement)


def _moved(change: float, judgement: Judgement | None) -> Iterator[Problem]:
    if judgement is not None and judgement.fails:
        moved = "rose" if change > 0 else "fell"
        yield Problem(moved, moved if judgement.p is None else f"{moved} (p {judgement.p:.2g})")


def _records(new: Results, old: Results) -> Iterator[ChangedCell]:
    for name, before in old.sources.items():
        after, problems = new.sources.get(name), []
        if after is None:
            if not any(key[0] == name for key in old.cells):  # otherwise its cells say so
                yield ChangedCell((name, "-", "-"), problems=(Problem("records vanished", "vanished"),))
            continue
        if differences := _differences(after.settings, before.settings):
            problems.append(Problem("records with other settings", differences))
        for check, was in before.flags.items():
            status = after.flags.get(check, ABSENT)
            if {status, was} <= ORDER.keys() and ORDER[status] > ORDER[was]:
                problems.append(Problem("sanity checks worse", f"sanity check {check}: {status}, was {was}"))
        if problems:
            yield ChangedCell((name, "-", "-"), problems=tuple(problems))


def _notes(new: Results, old: Results) -> Iterator[str]:
    for name, before in old.sources.items():
        after = new.sources.get(name, before)
        if after.seed != before.seed:
            yield f"{name}: seed {after.seed}, was {before.seed}"
        if after.algorithms != before.algorithms:
            yield f"{name}: {by_other_algorithms(after.algorithms, before.algorithms)}"
        for check, was in before.flags.items():
            status = after.flags.get(check, ABSENT)
            if status != was and "n/a" in (status, was):
                yield f"{name}: sanity check {check}: {status}, was {was}"


def _alone(judgements: Mapping[AccuracyKey, Judgement]) -> Iterator[str]:
    if count := sum(each.rule == ONE_TRAINING for each in judgements.values()):
        yield f"{count} cells of networks trained anew, one training a side: their intervals do not count its luck"


def _differences(new: Mapping[str, Any], old: Mapping[str, Any]) -> str:
    """`eps 12/255, was 24/255; steps 20, was 10`, or nothing."""
    return "; ".join(f"{name} {_shown(new, name)}, was {_shown(old, name)}" for name in {**old, **new}
                     if name not in new or name not in old or not _same(new[name], old[name]))


def _same(new: Any, old: Any) -> bool:
    if isinstance(new, float) and isinstance(old, float | int):
        return math.isclose(new, old, rel_tol=1e-9)
    return bool(new == old)


def _shown(settings: Mapping[str, Any], name: str) -> str:
    value = settings.get(name, ABSENT)
    if name in ("eps", "step_size") and isinstance(value, float) and "Linf" in (settings.get("threat"),
                                                                               settings.get("norm")):
        return in_255ths(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _points(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
