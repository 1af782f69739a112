"""The mean corruption error: the paper's formula, and intervals that hold what they estimate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rnabench.scoring.corruption import gain, mean_error, relative_error, relative_gain

C, S = 3, 5


def wrong(seed: int, images: int, draws: int, rate: float = 0.4) -> NDArray[np.float64]:
    """[C, S, N, D] of 0 and 1, with images and corruptions that are harder than others."""
    rng = np.random.default_rng(seed)
    harder = rng.uniform(-0.3, 0.3, images)[:, None] + np.linspace(-0.1, 0.1, C)[:, None, None, None]
    return (rng.random((C, S, images, draws)) < rate + harder).astype(float)


@given(st.integers(0, 10**6), st.integers(2, 12), st.sampled_from([(1, 1), (1, 3), (3, 1), (3, 3)]))
def test_the_papers_formula(seed: int, images: int, draws: tuple[int, int]) -> None:
    """Sums over severities of error rates, divided, and the mean over corruptions, loop by loop."""
    own, base = wrong(seed, images, draws[0]), wrong(seed + 1, images, draws[1], 0.6)
    found = relative_error(own.mean(1), base.mean(1), None)
    total = 0.0
    for corruption in range(C):
        above = sum(own[corruption, severity].mean() for severity in range(S))
        below = sum(base[corruption, severity].mean() for severity in range(S))
        if below == 0:
            assert found is None
            return
        total += above / below
    assert found is not None
    assert found[0] == pytest.approx(total / C)
    assert 0 <= found[1] <= found[0] <= found[2]
    mean = mean_error(own.mean((0, 1)), None)
    assert mean[0] == pytest.approx(own.sum() / own.size)
    assert 0 <= mean[1] <= mean[0] <= mean[2] <= 1


@given(st.integers(0, 10**6), st.sampled_from([1, 4]))
def test_a_network_against_itself(seed: int, draws: int) -> None:
    errors = wrong(seed, 40, draws).mean(1)
    relative = relative_error(errors, errors, None)
    assert relative is not None
    assert relative[0] == pytest.approx(1)
    assert gain(errors[0], errors[0], None)[0] == 0


@given(st.integers(0, 10**6))
def test_gains_are_of_the_mean_error(seed: int) -> None:
    own, other = wrong(seed, 30, 2).mean((0, 1)), wrong(seed + 1, 30, 2, 0.6).mean((0, 1))
    points, back = gain(own, other, None), gain(other, own, None)
    assert points[0] == pytest.approx(other.mean() - own.mean())
    assert points == pytest.approx((-back[0], -back[2], -back[1]))
    share = relative_gain(own, other, None)
    assert share is not None
    assert share[0] == pytest.approx(points[0] / other.mean())
    assert share[1] <= share[0] <= share[2]


def test_without_errors_nothing_is_relative_to_them() -> None:
    errors = wrong(0, 10, 1).mean(1)
    assert relative_error(errors, np.zeros_like(errors), None) is None
    assert relative_gain(errors[0], np.zeros_like(errors[0]), None) is None


def test_one_group_of_draws_says_nothing_of_others() -> None:
    errors = wrong(0, 12, 3).mean(1)
    assert mean_error(errors[0], np.zeros(12, dtype=np.int64))[1:] == (0, 1)
    relative = relative_error(errors, wrong(1, 12, 3).mean(1), np.zeros(12, dtype=np.int64))
    assert relative is not None
    assert relative[1:] == (0, np.inf)


def test_intervals_hold_the_true_value_about_as_often_as_they_say() -> None:
    """Against the value on a thousand times as many images."""
    many = 100_000
    own, base = wrong(1, many, 1).mean(1), wrong(1, many, 1, 0.6).mean(1)
    truth = relative_error(own, base, None)
    assert truth is not None
    mean, points = own.mean(), base.mean() - own.mean()
    held = np.zeros(3)
    for part in np.arange(many).reshape(1000, 100):
        relative = relative_error(own[:, part], base[:, part], None)
        assert relative is not None
        for place, (found, true) in enumerate(((relative, truth[0]), (mean_error(own[:, part].mean(0), None), mean),
                                               (gain(own[:, part].mean(0), base[:, part].mean(0), None), points))):
            held[place] += found[1] <= true <= found[2]
    assert (held / 1000 > 0.93).all()
    assert (held / 1000 < 0.995).all()
