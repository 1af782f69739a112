"""Intervals: Wilson's where nothing is random, and honest coverage where draws are shared."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnabench.scoring.interval import accuracy_interval, wilson


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_a_deterministic_model_has_wilsons_interval(outcomes: list[bool]) -> None:
    share, count = sum(outcomes) / len(outcomes), len(outcomes)
    assert accuracy_interval(np.array(outcomes)[:, None]) == pytest.approx(wilson(share, count))


@given(st.lists(st.booleans(), min_size=2, max_size=200), st.integers(2, 5))
def test_draws_that_all_agree_are_worth_no_more_than_one(outcomes: list[bool], draws: int) -> None:
    """They cannot narrow the interval; with few images it is a little wider, as their agreement may be luck."""
    correct = np.repeat(np.array(outcomes)[:, None], draws, axis=1)
    (low, high), (one_low, one_high) = accuracy_interval(correct), accuracy_interval(correct[:, :1])
    assert low <= one_low + 1e-9
    assert high >= one_high - 1e-9


@given(st.floats(0, 1), st.integers(1, 10_000))
def test_wilson_solves_its_quadratic(share: float, count: int) -> None:
    """Its ends are the p with (share - p)^2 = z^2 p (1 - p) / n."""
    for p in wilson(share, count):
        assert (share - p) ** 2 == pytest.approx(1.959963984540054**2 * p * (1 - p) / count, abs=1e-9)


def simulate(rng: np.random.Generator, images: int, draws: int, batch: int, image_sd: float, draw_sd: float,
             attack_sd: float) -> tuple[np.ndarray, np.ndarray]:
    batches = np.arange(images) // batch
    count = batches.max() + 1
    score = 0.3 + rng.normal(0, image_sd, (images, 1)) + rng.normal(0, draw_sd, (count, draws))[batches]
    score = score + rng.normal(0, attack_sd, (count, 1))[batches] + rng.logistic(0, 0.5, (images, draws))
    return score > 0, batches


@pytest.mark.parametrize(("draw_sd", "attack_sd", "per_sample"), [(0, 0, True), (1, 0, False), (1, 1, False)])
def test_coverage(draw_sd: float, attack_sd: float, per_sample: bool) -> None:
    """95 % intervals cover the true mean about 95 times in 100 (images and draws both sampled anew)."""
    rng = np.random.default_rng(0)
    big, _ = simulate(rng, 200_000, 1, 1, 1.5, draw_sd, attack_sd)
    truth, covered, naive = big.mean(), 0, 0
    for _ in range(300):
        correct, batches = simulate(rng, 600, 8, 20, 1.5, draw_sd, attack_sd)
        low, high = accuracy_interval(correct, None if per_sample else batches)
        covered += low <= truth <= high
        low, high = wilson(correct.mean(), correct.size)
        naive += low <= truth <= high
    assert covered / 300 > 0.90
    assert covered / 300 < 0.995
    assert naive / 300 < 0.8  # counting every (image, draw) as a sample would be far too narrow


def test_shared_draws_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    correct, batches = simulate(rng, 400, 10, 100, 1.0, 1.5, 0)
    shared, own = accuracy_interval(correct, batches), accuracy_interval(correct)
    assert shared[1] - shared[0] > 1.5 * (own[1] - own[0])


@pytest.mark.parametrize("batch", [75, 150])
def test_few_batches_widen_the_interval_enough(batch: int) -> None:
    """600 images in 8 or 4 batches, an attack path and scoring paths per batch."""
    rng = np.random.default_rng(3)
    big, _ = simulate(rng, 200_000, 1, 1, 1.5, 1, 1)
    truth, covered = big.mean(), 0
    for _ in range(400):
        low, high = accuracy_interval(*simulate(rng, 600, 8, batch, 1.5, 1, 1))
        covered += low <= truth <= high
    assert covered / 400 > 0.89


def test_one_draw_for_all_images_says_nothing_of_other_draws() -> None:
    assert accuracy_interval(np.ones((50, 1), dtype=bool), np.zeros(50, dtype=np.int64)) == (0.0, 1.0)


@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 10), st.integers(0, 999))
def test_always_within_zero_and_one_and_around_the_mean(images: int, draws: int, batch: int, seed: int) -> None:
    correct = np.random.default_rng(seed).random((images, draws)) < 0.7
    low, high = accuracy_interval(correct, np.arange(images) // batch)
    assert 0 <= low <= correct.mean() + 1e-12
    assert correct.mean() - 1e-12 <= high <= 1
