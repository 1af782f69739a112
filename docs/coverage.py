"""How often the 95 % intervals hold what they estimate, by simulation: the tables of
docs/pages/concepts/intervals.md.

    git show 937f3ff:rnabench/evaluation/interval.py > before.py
    python docs/coverage.py before.py
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Iterator
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import binom

from rnabench.scoring import interval as now
from rnabench.scoring.outcome import path_groups

Scores = NDArray[np.floating[Any]]
Estimate = Callable[..., tuple[float, ...]]
STRENGTHS = {"no effect of paths": (0.0, 0.0), "mild": (0.15, 0.15), "strong": (0.4, 0.3)}  # sd: attack path, draw
RESIDUAL = 0.5  # sd of an image on one draw, beside 1 between images
ROOT = np.float32(np.sqrt(2))
ACCURACIES, DRAWS, BATCH, PATHS = (0.05, 0.3, 0.5, 0.9), (1, 5, 20), 128, 16


def normal(rng: np.random.Generator, *shape: int) -> Scores:
    return rng.standard_normal(shape, dtype=np.float32)


def effects(rng: np.random.Generator, groups: now.Groups, draws: int, sds: tuple[float, float]) -> Scores:
    """[N images, draws]: what the attack path of an image's group, a draw of the group, and the rest add to it."""
    count = int(groups.max()) + 1
    shared = sds[0] * normal(rng, count, 1) + sds[1] * normal(rng, count, draws)
    return np.asarray(shared[groups] + RESIDUAL * normal(rng, len(groups), draws))


def spread(sds: tuple[float, float]) -> float:
    return float(np.sqrt(1 + sds[0] ** 2 + sds[1] ** 2 + RESIDUAL**2))


def correct(scores: Scores, accuracy: float) -> now.Bits:
    """An image is right on a draw where its score, of standard normal distribution, is below the quantile."""
    return np.asarray(scores < ndtri(accuracy))


def batches(images: int, size: int = BATCH) -> now.Groups:
    return np.arange(images, dtype=np.int64) // size


def coverage(estimate: Estimate, groups: now.Groups, draws: int, strength: str, repeats: int) -> NDArray[np.float64]:
    """Of the interval of an accuracy, for each of ACCURACIES; and the intervals' mean half-width at 50 %."""
    rng, sds, hits, widths = np.random.default_rng(0), STRENGTHS[strength], np.zeros(len(ACCURACIES)), 0.0
    for _ in range(repeats):
        scores = (normal(rng, len(groups), 1) + effects(rng, groups, draws, sds)) / spread(sds)
        for index, accuracy in enumerate(ACCURACIES):
            low, high = estimate(correct(scores, accuracy), groups)
            hits[index] += low <= accuracy <= high
            widths += (high - low) / 2 * (accuracy == 0.5)
    return np.append(hits, widths) / repeats


def exactly(images: int, accuracy: float, groups: now.Groups | None = None) -> float:
    """The coverage with one draw that has no effect, where no two images share a group: from the binomial
    distribution. Without groups it is Wilson's."""
    number = np.arange(images)[:, None]
    ends = [now.accuracy_interval(number < right, groups) for right in range(images + 1)]
    return float(sum(binom.pmf(right, images, accuracy) for right, (low, high) in enumerate(ends)
                     if low <= accuracy <= high))


def pairs(estimate: Estimate, groups: now.Groups, draws: int, randomised: bool, repeats: int) -> list[float]:
    """Coverage of the interval of a difference, by strength and accuracies: of two networks that share half of what
    moves an image and half of what draws do, or of one and a deterministic network."""
    rng, images, cells = np.random.default_rng(0), len(groups), []
    for sds in list(STRENGTHS.values())[1:]:
        hits = np.zeros(3)
        for _ in range(repeats):
            image, common = normal(rng, images, 1), effects(rng, groups, draws, sds)
            first, second = ((image + normal(rng, images, 1)) / ROOT for _ in range(2))
            first = (first + (common + effects(rng, groups, draws, sds)) / ROOT) / spread(sds)
            if randomised:
                second = (second + (common + effects(rng, groups, draws, sds)) / ROOT) / spread(sds)
            for index, (one, other) in enumerate([(0.1, 0.05), (0.4, 0.3), (0.9, 0.9)]):
                _, low, high = estimate(correct(first, one), correct(second, other), groups)
                hits[index] += low <= one - other <= high
        cells += list(hits / repeats)
    return cells


def of_accuracy(old: SimpleNamespace) -> Iterator[list[object]]:
    named: list[tuple[float, str]] = []
    for images in (8, 16, 40, 128, 500, 2000, 10_000):
        row: list[object] = [images, -(-images // BATCH)]
        for (estimate, groups, repeats), draws in product((
                (old.accuracy_interval, batches(images), 1000 if images <= 500 else 200 if images == 2000 else 0),
                (now.accuracy_interval, path_groups(0, images, PATHS), 2000 if images <= 128 else 1000 - images // 15),
        ), DRAWS):
            cells = {(strength, accuracy): cell for strength in STRENGTHS for accuracy, cell in zip(
                ACCURACIES, coverage(estimate, groups, draws, strength, repeats), strict=False)} if repeats else {}
            row.append(summary(list(cells.values())))
            if estimate is now.accuracy_interval:
                named += [(cell, f"{images} images, {draws} draws, {strength}, {accuracy:.0%}: {cell:.3f}")
                          for (strength, accuracy), cell in cells.items()]
        yield [*row, " ".join(f"{exactly(images, accuracy):.3f}" for accuracy in ACCURACIES)]
    yield ["now, lowest: " + min(named)[1], "highest: " + max(named)[1]]


def of_few(_: SimpleNamespace) -> Iterator[list[object]]:
    for images, groups in product((8, 16), (False, True)):
        yield [images, groups, *(f"{exactly(images, accuracy, path_groups(0, images, PATHS) if groups else None):.3f}"
                                 for accuracy in (0.05, 0.06, 0.3, 0.5, 0.9))]


def of_groups(old: SimpleNamespace) -> Iterator[list[object]]:
    for size in (512, 256, 128, 64, 32, 16, 8):
        cells = [coverage(estimate, batches(512, size), draws, "strong", 400)
                 for estimate in (old.accuracy_interval, now.accuracy_interval) for draws in DRAWS]
        yield [512 // size, size, *(f"{cell[:-1].mean():.3f}" for cell in cells),
               *(f"{100 * cells[index][-1]:.1f}" for index in (1, 4))]


def of_pairs(old: SimpleNamespace) -> Iterator[list[object]]:
    for images, draws in product((16, 128, 500, 2000), (1, 5)):
        yield [images, draws, *(summary(pairs(estimate, groups, draws, randomised, 1000 if images < 2000 else 300))
                                for randomised in (True, False) for estimate, groups in (
                                    (old.difference_interval, batches(images)),
                                    (now.difference_interval, path_groups(0, images, PATHS))))]


def summary(cells: list[float]) -> str:
    return f"{np.mean(cells):.3f} ({min(cells):.3f}-{max(cells):.3f})" if cells else ""


def revision(file: str) -> SimpleNamespace:
    """What another revision's `interval.py` defines."""
    return SimpleNamespace(**runpy.run_path(file))


if __name__ == "__main__":
    for table in (of_accuracy, of_few, of_groups, of_pairs):
        print(f"\n{table.__name__}")
        for row in table(revision(sys.argv[1])):
            print("| " + " | ".join(map(str, row)) + " |", flush=True)
