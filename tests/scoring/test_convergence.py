"""The stopping rule's errors by simulation, and the noise of gradients against what is known of a toy."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

from rnabench.scoring.convergence import WRONG, GradientNoise, Rung, climb, doubled, images_to_tell
from rnabench.scoring.interval import Difference
from rnabench.scoring.outcome import path_groups

IMAGES, DRAWS, GROUPS = 600, 4, path_groups(0, 600, 16)
TOLERANCE = 0.03


def ladder(seed: int, changes: list[float]) -> list[np.ndarray]:
    """What is correct at each value: the true accuracy falls by `changes`. Images, the paths of their groups and draws
    matter, as in evaluations, and most outcomes stay what they were."""
    rng = np.random.default_rng(seed)
    score = rng.normal(size=(IMAGES, 1)) + 0.3 * rng.normal(size=(16, DRAWS))[GROUPS]
    spread = math.sqrt(1 + 0.3**2 + 0.2**2)
    return [score + 0.2 * rng.normal(size=(IMAGES, DRAWS)) < spread * ndtri(0.6 - fall)
            for fall in np.cumsum([0.0, *changes])]


def stops_at(changes: list[float], seed: int) -> int | None:
    """The number of the rung that the rule stops at, if it does."""
    measured = ladder(seed, changes)
    rungs = list(climb(list(range(len(measured))), lambda value: measured[value], GROUPS, TOLERANCE))
    return rungs[-1].value if rungs[-1].is_within(TOLERANCE) else None


def test_a_rung_whose_true_change_is_the_tolerance_stops_as_rarely_as_is_said() -> None:
    wrong = np.mean([stops_at([TOLERANCE], seed) is not None for seed in range(1500)])
    assert 0 < wrong <= WRONG + 2 * math.sqrt(WRONG / 1500)


def test_a_ladder_of_such_rungs_stops_at_most_as_often_as_all_of_them() -> None:
    changes = [TOLERANCE] * 4
    wrong = np.mean([stops_at(changes, seed) is not None for seed in range(500)])
    assert wrong <= len(changes) * WRONG + 2 * math.sqrt(len(changes) * WRONG / 500)


def test_it_stops_where_nothing_changes_and_never_where_much_does() -> None:
    assert np.mean([stops_at([0.0], seed) == 1 for seed in range(100)]) > 0.9
    assert all(stops_at([0.1], seed) is None for seed in range(100))
    assert np.mean([stops_at([0.1, 0.0], seed) == 2 for seed in range(100)]) > 0.9


def test_a_single_path_group_never_stops() -> None:
    same = np.ones((20, 3), dtype=bool)
    rungs = list(climb([1, 2, 4], lambda _: same, np.zeros(20, dtype=np.int64), 0.5))
    assert [rung.value for rung in rungs] == [1, 2, 4]
    assert images_to_tell(rungs[-1], 0.5) is None


@given(st.integers(1, 40), st.integers(0, 400))
def test_values_double_up_to_the_most(first: int, more: int) -> None:
    values = doubled(first, first + more)
    assert values[0] == first
    assert all(after == 2 * before for before, after in pairwise(values))
    assert values[-1] <= first + more < 2 * values[-1]


def test_with_so_many_images_more_the_change_would_have_been_within() -> None:
    change = Difference(0.002, 0.004, math.inf)
    needed = images_to_tell(Rung(2, np.ones((500, 1), dtype=bool), change), 0.005)
    assert needed is not None
    assert 0.002 + 1.96 * 0.004 * math.sqrt(500 / needed) == pytest.approx(0.005, rel=1e-3)


def noise(gradients: np.ndarray) -> GradientNoise:
    """Of [draws, N, pixels]."""
    mean = gradients.mean(0)
    return GradientNoise(np.linalg.norm(mean, axis=1), np.square(gradients - mean).sum((0, 2)), len(gradients))


def test_two_paths_with_gradients_a_and_b() -> None:
    """A draw is a or b: the mean is (a + b) / 2 and the variance |a - b|^2 / 4, so that |a - b|^2 / |a + b|^2 draws
    have a ratio of 1."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 50))
    closed = np.square(a - b).sum(1) / np.square(a + b).sum(1)
    drawn = np.where(rng.random((20_000, 3, 1)) < 0.5, a, b)
    found = noise(drawn)
    assert found.draws_needed == pytest.approx(closed, rel=0.05)
    assert np.square(found.signal_to_noise) == pytest.approx(1 + 20_000 / closed, rel=0.05)


def test_the_same_gradient_on_every_draw_has_no_noise_and_no_gradient_has_no_ratio() -> None:
    found = noise(np.repeat(np.array([[[1.0, 2.0], [0.0, 0.0]]]), 5, axis=0))
    assert found.signal_to_noise[0] == math.inf
    assert found.draws_needed[0] == 0
    assert math.isnan(found.signal_to_noise[1])
    assert math.isnan(found.draws_needed[1])


def test_pure_noise_has_a_ratio_of_one_and_mostly_no_number_of_draws() -> None:
    rng = np.random.default_rng(0)
    found = noise(rng.normal(size=(16, 400, 300)))
    assert float(np.median(found.signal_to_noise)) == pytest.approx(1, abs=0.02)
    assert 0.3 < float(np.isinf(found.draws_needed).mean()) < 0.7
