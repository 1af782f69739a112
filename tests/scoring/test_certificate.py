"""Certificates of randomised smoothing against the published formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm

from rnabench.scoring.certificate import ABSTAINED, certify, largest_radius, lower_bound


@given(st.integers(1, 400), st.floats(0, 1), st.sampled_from([0.001, 0.05, 0.3]))
def test_the_bound_is_where_so_many_hits_become_improbable(draws: int, share: float, alpha: float) -> None:
    """Clopper and Pearson by their definition: at the bound, at least so many hits have probability alpha."""
    hits = round(share * draws)
    bound = float(lower_bound(np.array([hits]), draws, alpha)[0])
    if hits == 0:
        assert bound == 0
    else:
        assert binom.sf(hits - 1, draws, bound) == pytest.approx(alpha, rel=1e-6)
        assert bound <= hits / draws


def test_the_bound_fails_as_seldom_as_it_says() -> None:
    draws, alpha = 60, 0.1
    counts = np.arange(draws + 1)
    bounds = lower_bound(counts, draws, alpha)
    for probability in (0.3, 0.5, 0.8, 0.95):
        fails = float(binom.pmf(counts[bounds > probability], draws, probability).sum())
        assert fails <= alpha
        assert fails > alpha / 4  # not idle


@given(st.integers(2, 5000), st.floats(0.05, 2), st.sampled_from([0.001, 0.05]))
def test_where_all_draws_agree_the_radius_is_the_closed_form(draws: int, sigma: float, alpha: float) -> None:
    counts = np.array([[0, draws, 0], [draws, 0, 0]])
    made = certify(counts, counts, sigma, alpha)
    expected = sigma * norm.ppf(alpha ** (1 / draws))
    if expected <= 0:
        assert (made.predicted == ABSTAINED).all()
        assert largest_radius(draws, sigma, alpha) == 0
    else:
        assert made.predicted.tolist() == [1, 0]
        assert made.radius == pytest.approx([expected, expected], rel=1e-5)
        assert largest_radius(draws, sigma, alpha) == pytest.approx(expected, rel=1e-5)


def test_the_guess_is_of_the_first_draws_and_the_bound_of_the_others() -> None:
    first = np.array([[3, 7], [7, 3], [5, 5], [7, 3]])
    counts = np.array([[10, 90], [10, 90], [90, 10], [52, 48]])
    made = certify(first, counts, 0.5, 0.001)
    assert made.predicted.tolist() == [1, ABSTAINED, 0, ABSTAINED]
    assert made.radius[0] == made.radius[2] > 0
    assert made.radius[1] == made.radius[3] == 0
    labels = np.array([1, 1, 1, 0])
    assert made.correct_at(labels, 0).tolist() == [True, False, False, False]
    assert not made.correct_at(labels, float(made.radius[0]) + 1e-9).any()
    assert math.isclose(made.radius[0], 0.5 * norm.ppf(float(lower_bound(np.array([90]), 100, 0.001)[0])))
