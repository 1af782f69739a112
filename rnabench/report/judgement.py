"""Which accuracies have changed: each by the test that its evidence allows, all together with one error rate."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

from rnabench.report.accuracies import Accuracy, AccuracyKey, RecordSettings, Results
from rnabench.report.change import (
    BY_GROUP,
    BY_IMAGE,
    BY_TRAINING,
    INTERVALS,
    ONE_TRAINING,
    ByGroup,
    ByImage,
    ByIntervals,
    ByTraining,
    Change,
)
from rnabench.scoring.significance import holm

LEVEL = 0.05  # of a comparison: the chance that any cell fails where nothing has changed
TOLERANCE, WITH_OTHERS = "tolerance", "with its other trainings"
MEANING = {
    BY_IMAGE: "the same weights on the same images, each a sample: if nothing has changed, what differs is as likely "
              "to be for the better as for the worse (exact sign-flip test)",
    BY_GROUP: "the same weights on the same images, but other draws: the path groups that share them are the samples",
    BY_TRAINING: "other weights, several trainings: how far their mean moved, beside the spread between trainings "
                 "(Student's t)",
    ONE_TRAINING: "other weights, one training a side: both 95 % intervals as independent errors; they count images "
                  "and draws, and not the luck of a training",
    INTERVALS: "nothing to pair: both 95 % intervals as independent errors",
    WITH_OTHERS: "other weights: judged in the mean of its method's trainings",
    TOLERANCE: "the points that `--tolerance` allows; no test",
}


@dataclass(frozen=True)
class Judgement:
    """`rule`: the test, a key of MEANING. `p`: corrected for all cells of the comparison (Holm), None without a test.
    `flagged_from`: the smallest change (a share) that would fail, all else as it is; None where nothing is judged."""

    rule: str
    fails: bool = False
    flagged_from: float | None = None
    p: float | None = None


def judged(changes: Mapping[AccuracyKey, Change]) -> dict[AccuracyKey, Judgement]:
    """Which changes fail, at an error rate of 5 % for all together.

    A cell that could not fail, because too few of its images differ for any p-value below 5 %, takes no part in the
    correction and so costs the others nothing (Tarone 1990).
    """
    able = [key for key, change in changes.items() if change.smallest <= LEVEL]
    adjusted = dict(zip(able, holm([changes[key].p for key in able]), strict=True))
    passing = sum(p > LEVEL for p in adjusted.values())
    judgements = {}
    for key, change in changes.items():
        p = adjusted.get(key, 1.0)
        level = LEVEL / max(1, passing + (key not in adjusted))  # of the first of Holm's steps that fails no cell
        judgements[key] = Judgement(change.rule, p <= LEVEL, change.needed(level), p)
    return judgements


def by_tolerance(new: Results, old: Results, points: float) -> dict[AccuracyKey, Judgement]:
    """A judgement of every cell that both sides have: it may change by so many points."""
    return {key: Judgement(TOLERANCE, abs(new.cells[key].accuracy - cell.accuracy) > points / 100 + 1e-9, points / 100)
            for key, cell in old.cells.items() if key in new.cells}


def by_chance(new: Results, old: Results, means: Mapping[AccuracyKey, ByTraining], in_means: Container[AccuracyKey]
              ) -> dict[AccuracyKey, Judgement]:
    """A judgement of every cell that both sides have, and of the means of trainings, each by its test. Cells that are
    part of a mean (`in_means`) are judged in it."""
    both = [key for key in old.cells if key in new.cells]
    changes: dict[AccuracyKey, Change] = {
        key: _change(new.cells[key], old.cells[key], new.sources.get(key[0]), old.sources.get(key[0]))
        for key in both if key not in in_means}
    return judged({**changes, **means}) | {key: Judgement(WITH_OTHERS) for key in both if key in in_means}


def trainings(new: Results, old: Results) -> tuple[dict[AccuracyKey, ByTraining], set[AccuracyKey]]:
    """Where networks were trained anew and there are several trainings on a side: a test of the mean over all trainings
    of the method, by its name, attack and protocol; and the cells that such a test takes the place of."""
    anew: dict[AccuracyKey, list[AccuracyKey]] = {}
    for key, cell in old.cells.items():
        before, after = old.sources.get(key[0]), new.sources.get(key[0])
        if before and after and key in new.cells and before.weights != after.weights and (
                _comparable(new.cells[key], cell, after, before)):
            anew.setdefault((before.method, *key[1:]), []).append(key)
    means, in_means = {}, set[AccuracyKey]()
    for (method, attack, protocol), keys in anew.items():
        now, then = ([cell.accuracy for key, cell in side.cells.items() if key[1:] == (attack, protocol)
                      and side.sources[key[0]].method == method] for side in (new, old))
        if len(now) + len(then) > 2:
            name = f"{method}: mean of {len(then)}, now {len(now)}, trainings"
            means[name, attack, protocol] = ByTraining(now, then, old.cells[keys[0]].settings["images"])
            in_means.update(keys)
    return means, in_means


def _change(new: Accuracy, old: Accuracy, after: RecordSettings | None, before: RecordSettings | None) -> Change:
    """`after` and `before` are the cells' records, None for a `table.csv`."""
    if after is None or before is None or not _comparable(new, old, after, before):
        return ByIntervals(new, old)
    if after.weights != before.weights:
        return ByIntervals(new, old, ONE_TRAINING)
    one, other = new.outcome, old.outcome
    assert one is not None
    assert other is not None
    if one.groups is None or other.groups is None:
        return ByImage(one, other)
    if one.groups.tolist() != other.groups.tolist():
        return ByIntervals(new, old)
    same_draws = (after.seed, after.algorithms) == (before.seed, before.algorithms)
    return ByImage(one, other) if same_draws else ByGroup(one, other)


def _comparable(new: Accuracy, old: Accuracy, after: RecordSettings, before: RecordSettings) -> bool:
    """Whether both measured the same on the same images, and kept the outcomes."""
    return new.outcome is not None and old.outcome is not None and new.settings == old.settings and (
        after.settings == before.settings)
