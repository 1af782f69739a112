"""How often `rnabench report --against` fails where nothing has changed, and where an accuracy has fallen by 3 points:
prints the last table of docs/pages/concepts/intervals.md.

    git show 937f3ff:rnabench/evaluation/interval.py > before.py
    python docs/false_alarms.py before.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
from coverage import PATHS, STRENGTHS, Estimate, Scores, batches, correct, effects, normal, revision, spread

from rnabench.report.accuracies import Accuracy, AccuracyKey
from rnabench.report.change import ByGroup, ByImage, ByIntervals, ByTraining, Change
from rnabench.report.judgement import judged
from rnabench.scoring.interval import Bits, Groups, accuracy_interval
from rnabench.scoring.outcome import Outcome, path_groups

SDS, DRAWS, ACCURACY, LUCK = STRENGTHS["mild"], 5, 0.4, 0.026  # LUCK: a training's, one point of the accuracy
ROUNDING, SCORES, OTHER_DRAWS = "same draws, rounding", "same draws, scores moved", "other draws"
ONE_TRAINING, THREE_TRAININGS = "one training a side", "three trainings a side"
FORTY = "forty cells, scores moved"
CELLS = {FORTY: 40, THREE_TRAININGS: 3}
TRAINED = (ONE_TRAINING, THREE_TRAININGS)


def two_sides(rng: np.random.Generator, scenario: str, image: Scores, groups: Groups) -> list[Scores]:
    """The scores of two measurements of which neither is better, [N images, DRAWS] each."""
    if scenario in TRAINED:  # 80 % of what moves an image is common to all trainings
        return [((2 * image + normal(rng, len(image), 1)) / np.float32(np.sqrt(5)) + LUCK * normal(rng, 1, 1)
                 + effects(rng, groups, DRAWS, SDS)) / spread(SDS) for _ in range(2)]
    first = (image + effects(rng, groups, DRAWS, SDS)) / spread(SDS)
    if scenario == OTHER_DRAWS:
        return [first, (image + effects(rng, groups, DRAWS, SDS)) / spread(SDS)]
    moved = 0.01 if scenario == ROUNDING else 0.1  # the sd of a score is 1
    return [first, (first + moved * normal(rng, *first.shape)) / np.float32(np.sqrt(1 + moved**2))]


def measured(rng: np.random.Generator, scenario: str, groups: Groups, fall: float
             ) -> Iterator[tuple[Outcome, Outcome]]:
    """New and old outcomes of every cell. A training's fall is in all cells, another one in the first."""
    image = normal(rng, len(groups), 1)
    for index in range(CELLS.get(scenario, 1)):
        old, new = two_sides(rng, scenario, image, groups)
        fallen = fall if scenario in TRAINED or index == 0 else 0.0
        yield outcome(correct(new, ACCURACY - fallen), groups), outcome(correct(old, ACCURACY), groups)


def outcome(right: Bits, groups: Groups) -> Outcome:
    return Outcome("", "", right, right[:, 0], right[:, 0], groups)


def by_intervals(new: Outcome, old: Outcome, estimate: Estimate) -> ByIntervals:
    sides = []
    for side in (new, old):
        low, high = estimate(side.correct, side.groups)
        sides.append(Accuracy(side.accuracy, low, high, settings={}))
    return ByIntervals(sides[0], sides[1])


def failing_now(scenario: str, cells: list[tuple[Outcome, Outcome]]) -> list[int]:
    """The numbers of the cells that fail."""
    changes: dict[AccuracyKey, Change] = {}
    for index, (new, old) in enumerate(cells):
        changes["", "", str(index)] = by_intervals(new, old, accuracy_interval) if scenario == ONE_TRAINING else (
            ByGroup(new, old) if scenario == OTHER_DRAWS else ByImage(new, old))
    if scenario == THREE_TRAININGS:
        new_ones, old_ones = ([cell[side].accuracy for cell in cells] for side in (0, 1))
        changes = {("", "", "0"): ByTraining(new_ones, old_ones, len(cells[0][0].correct))}
    return [int(key[2]) for key, judgement in judged(changes).items() if judgement.fails]


def share(before: Estimate | None, scenario: str, images: int, fall: float, repeats: int) -> float:
    """How often a comparison fails: by the rule before, a change larger than both intervals, as independent errors
    (`before` estimates them); or, if None, by today's. If one cell of several fell, it is that one which must fail."""
    rng, count = np.random.default_rng(0), 0
    groups = path_groups(0, images, PATHS) if before is None else batches(images)
    for _ in range(repeats):
        cells = list(measured(rng, scenario, groups, fall))
        failing = failing_now(scenario, cells) if before is None else [
            index for index, (new, old) in enumerate(cells) if by_intervals(new, old, before).p <= 0.05]
        count += 0 in failing if fall and scenario not in TRAINED else bool(failing)
    return count / repeats


if __name__ == "__main__":
    old_rule = revision(sys.argv[1]).accuracy_interval
    for name, size, times in ((ROUNDING, 500, 300), (SCORES, 128, 500), (SCORES, 500, 300), (SCORES, 1000, 200),
                              (OTHER_DRAWS, 500, 500), (ONE_TRAINING, 500, 500), (THREE_TRAININGS, 500, 300),
                              (FORTY, 500, 25)):
        shares = [share(rule, name, size, by, times) for by in (0.0, 0.03) for rule in (old_rule, None)]
        print(f"| {name} | {size} | " + " | ".join(f"{found:.2f}" for found in shares) + " |", flush=True)
