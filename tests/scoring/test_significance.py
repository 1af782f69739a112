"""The sign-flip test, against every choice of signs written out, and against the binomial distribution."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from rnabench.scoring import significance as paired
from rnabench.scoring.significance import SignFlip, fewest

DIFFERENCES = st.lists(st.integers(-4, 4), max_size=9)


def sums(differences: list[int]) -> np.ndarray:
    """The absolute sums under all choices of signs."""
    return np.array([abs(sum(signed)) for signed in product(*((each, -each) for each in differences))])


@given(DIFFERENCES, st.integers(1, 20))
def test_p_is_the_share_of_signs_that_give_as_much(differences: list[int], unit: int) -> None:
    test = SignFlip(np.array(differences, dtype=np.int64) * unit)
    assert test.p == pytest.approx((sums(differences) >= abs(sum(differences))).mean())
    assert test.smallest <= test.p


@given(DIFFERENCES, st.integers(1, 20), st.floats(0.01, 0.9))
def test_what_is_needed_is_the_smallest_sum_that_is_enough(differences: list[int], unit: int, level: float) -> None:
    every = sums(differences)
    enough = [total for total in set(every.tolist()) if (every >= total).mean() <= level]
    needed = SignFlip(np.array(differences, dtype=np.int64) * unit).needed(level)
    assert needed == (min(enough) * unit if enough else None)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 500))
def test_for_single_outcomes_it_is_the_exact_test_of_mcnemar(better: int, worse: int, same: int) -> None:
    differences = np.repeat([1, -1, 0], [better, worse, same])
    expected = binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert SignFlip(differences).p == pytest.approx(expected)
    assert SignFlip(-differences).p == SignFlip(differences).p


def test_nothing_differs() -> None:
    test = SignFlip(np.zeros(50, dtype=np.int64))
    assert (test.p, test.smallest, test.needed(0.05)) == (1, 1, None)


@given(st.floats(1e-6, 0.5))
def test_so_many_to_one_side_are_enough_and_one_less_is_not(level: float) -> None:
    count = fewest(level)
    enough, one_less = (SignFlip(np.ones(number, dtype=np.int64)).p for number in (count, count - 1))
    assert enough <= level * (1 + 1e-9)
    assert one_less > level * (1 - 1e-9)


def test_many_differences_are_judged_as_exactly_as_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The normal distribution that serves from EXACT on, beside the exact one."""
    rng = np.random.default_rng(0)
    differences = rng.integers(-20, 22, 600)
    large = SignFlip(differences)
    monkeypatch.setattr(paired, "EXACT", 10_000)
    exact = SignFlip(differences)
    assert large.p == pytest.approx(exact.p, abs=1e-3)
    assert large.needed(0.01) == pytest.approx(exact.needed(0.01), rel=0.01)
