"""How often 95 % intervals hold what they estimate, by simulation; `docs/coverage.py` is the long version."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtri

from rnabench.scoring.interval import accuracy_interval, difference_interval
from rnabench.scoring.outcome import path_groups
from rnabench.settings.evaluation import EvaluationSettings

PATHS = EvaluationSettings.model_fields["attack_paths"].default
LOWEST, HIGHEST = 0.92, 0.985
Scores = NDArray[np.float32]


def normal(rng: np.random.Generator, *shape: int) -> Scores:
    return rng.standard_normal(shape, dtype=np.float32)


def effects(rng: np.random.Generator, groups: NDArray[np.int64], draws: int) -> Scores:
    """[N images, draws]: of a group's attack path, of its draws, and the rest, with variances 0.16, 0.09 and 0.25."""
    count = int(groups.max()) + 1
    shared = 0.4 * normal(rng, count, 1) + 0.3 * normal(rng, count, draws)
    return np.asarray(shared[groups] + 0.5 * normal(rng, len(groups), draws))


def scores(seed: int, groups: NDArray[np.int64], draws: int, repeats: int) -> Iterator[tuple[Scores, Scores, Scores]]:
    """Those of two networks that share half of what moves an image and half of what draws do, and of a deterministic
    one that shares the former; of variance 1 each."""
    rng, images = np.random.default_rng(seed), len(groups)
    for _ in range(repeats):
        image = normal(rng, images, 1)
        common = image + effects(rng, groups, draws)
        first, second = ((common + normal(rng, images, 1) + effects(rng, groups, draws)) / np.sqrt(3) for _ in "12")
        yield first, second, (image + normal(rng, images, 1)) / np.sqrt(2)


def coverage(groups: NDArray[np.int64], draws: int, accuracy: float, repeats: int = 1000) -> float:
    """An image is right on a draw where its score is below the quantile, whose probability is the true accuracy."""
    intervals = [accuracy_interval(first < ndtri(accuracy), groups) for first, *_ in scores(0, groups, draws, repeats)]
    return float(np.mean([low <= accuracy <= high for low, high in intervals]))


@pytest.mark.parametrize(("images", "draws", "accuracy"), [
    (16, 1, 0.3), (16, 5, 0.5), (40, 20, 0.9), (128, 1, 0.05), (128, 5, 0.5), (500, 5, 0.3), (500, 1, 0.9)])
def test_of_an_accuracy_at_the_default_number_of_attack_paths(images: int, draws: int, accuracy: float) -> None:
    assert LOWEST <= coverage(path_groups(0, images, PATHS), draws, accuracy) <= HIGHEST


@pytest.mark.parametrize(("paths", "draws"), [(4, 1), (4, 5)])
def test_of_an_accuracy_with_few_attack_paths(paths: int, draws: int) -> None:
    """Four are marked as too few, but their interval is wide enough."""
    assert LOWEST <= coverage(path_groups(0, 500, paths), draws, 0.3) <= HIGHEST


def test_an_attack_path_counts_once_however_many_draws_score() -> None:
    """More scoring draws say nothing of other attack paths: one for all images leaves the whole range, and two a wide
    one."""
    assert coverage(path_groups(0, 128, 1), 5, 0.5, 50) == 1
    widths = [high - low for low, high in (accuracy_interval(first < 0, path_groups(0, 128, 2))
                                           for first, *_ in scores(1, path_groups(0, 128, 2), 20, 100))]
    assert np.median(widths) > 0.5


@pytest.mark.parametrize(("images", "draws", "paths", "one", "other"), [
    (40, 1, PATHS, 0.4, 0.3), (128, 5, PATHS, 0.1, 0.05), (500, 1, PATHS, 0.9, 0.9), (500, 5, 4, 0.4, 0.3)])
@pytest.mark.parametrize("both", [True, False])
def test_of_a_difference(images: int, draws: int, paths: int, one: float, other: float, both: bool) -> None:
    """Of two randomised networks whose draws are the same ones, or of one and a deterministic network."""
    groups, covered = path_groups(0, images, paths), []
    for first, second, deterministic in scores(2, groups, draws, 400):
        against = second if both else deterministic
        _, low, high = difference_interval(first < ndtri(one), against < ndtri(other), groups)
        covered.append(low <= one - other <= high)
    assert LOWEST <= np.mean(covered) <= HIGHEST
