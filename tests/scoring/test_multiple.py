"""Holm's correction is the closed test of Bonferroni's: brute force over all sets of hypotheses says the same."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from rnabench.scoring.significance import holm


def closed(p_values: list[float], number: int) -> float:
    """A hypothesis is rejected if Bonferroni's test rejects every set of hypotheses that holds it."""
    others = [k for k in range(len(p_values)) if k != number]
    sets = [(number, *more) for count in range(len(p_values)) for more in combinations(others, count)]
    return min(1.0, max(len(each) * min(p_values[k] for k in each) for each in sets))


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_closed_test_of_bonferronis(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p_values = [round(float(p), 2) for p in rng.random(rng.integers(1, 7)) ** 3]  # ties and small ones among them
    assert holm(p_values) == pytest.approx([closed(p_values, number) for number in range(len(p_values))])


def test_one_test_is_not_corrected_and_none_is_none() -> None:
    assert holm([0.03]) == [0.03]
    assert holm([]) == []
    assert holm([float("nan"), 0.01]) == [1.0, 0.02]


def test_the_family_errs_five_times_in_a_hundred_and_single_tests_oftener() -> None:
    """Twenty tests of nothing: at least one of them is below 0.05 in 64 % of families, corrected in 5 %."""
    families = np.random.default_rng(0).random((2000, 20))
    wrong = np.mean([min(holm(list(family))) < 0.05 for family in families])
    assert np.mean(families.min(1) < 0.05) > 0.5
    assert wrong == pytest.approx(0.05, abs=0.015)
