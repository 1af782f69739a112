"""Agreement between draws: all pairs, its ends, and what it has to do with accuracy."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnabench.scoring.agreement import agreement


def predictions(images: int, draws: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, (images, draws))


@given(st.integers(1, 6), st.integers(2, 8), st.integers(0, 2**31))
def test_it_is_the_share_of_all_pairs(images: int, draws: int, seed: int) -> None:
    drawn = predictions(images, draws, seed)
    pairs = [drawn[:, a] == drawn[:, b] for a, b in combinations(range(draws), 2)]
    assert agreement(drawn) == pytest.approx(np.mean(pairs, 0))
    assert agreement(drawn[:, ::-1]) == pytest.approx(agreement(drawn))


def test_all_the_same_all_different_and_a_single_draw() -> None:
    assert agreement(np.array([[3, 3, 3], [0, 1, 2]])).tolist() == [1.0, 0.0]
    assert agreement(np.array([[3], [0]])).tolist() == [1.0, 1.0]


@given(st.integers(2, 8), st.integers(0, 2**31))
def test_draws_that_are_mostly_right_agree_at_least_as_often_as_both_are_right(draws: int, seed: int) -> None:
    drawn = predictions(40, draws, seed)
    right = (drawn == 0).sum(1)
    assert (agreement(drawn) >= right * (right - 1) / (draws * (draws - 1)) - 1e-12).all()
