"""Accuracy against the number of tries: all subsets of draws, its ends, its order, and how often its intervals hold."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import ndtr, ndtri

from rnabench.scoring.interval import accuracy_interval
from rnabench.scoring.outcome import Outcome, path_groups
from rnabench.scoring.tries import all_right, by_tries
from tests.scoring.test_coverage import HIGHEST, LOWEST, PATHS, scores

DRAWN = st.tuples(st.integers(1, 9), st.integers(1, 7), st.integers(0, 2**31))


def drawn(images: int, draws: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.random((images, draws)) < rng.random((images, 1)))


def outcome(correct: np.ndarray, groups: np.ndarray | None = None) -> Outcome:
    return Outcome("pgd10", "eot:20", correct, correct[:, 0], correct[:, 0], groups)


@given(DRAWN)
def test_it_is_the_mean_over_all_subsets_of_draws(size: tuple[int, int, int]) -> None:
    correct = drawn(*size)
    chances = all_right(correct)
    for number in range(1, correct.shape[1] + 1):
        subsets = [correct[:, list(chosen)].all(1) for chosen in combinations(range(correct.shape[1]), number)]
        assert chances[:, number - 1] == pytest.approx(np.mean(subsets, 0))


@given(DRAWN)
def test_from_the_mean_accuracy_down_to_the_worst_of_all_draws(size: tuple[int, int, int]) -> None:
    measured = outcome(drawn(*size), path_groups(0, size[0], 4))
    found = by_tries(measured)
    assert [each.number for each in found] == list(range(1, size[1] + 1))
    assert found[0].accuracy == pytest.approx(measured.accuracy)
    assert found[0].interval == pytest.approx(measured.interval)
    assert found[-1].accuracy == pytest.approx(measured.worst)
    assert all(more.accuracy <= fewer.accuracy + 1e-12 for fewer, more in pairwise(found))
    assert all(low - 1e-12 <= each.accuracy <= high + 1e-12 for each in found for low, high in [each.interval])


def test_images_that_are_always_or_never_right_lose_nothing_by_more_tries() -> None:
    correct = np.repeat([[True], [False], [True]], 5, axis=1)
    assert {each.accuracy for each in by_tries(outcome(correct))} == {2 / 3}


def test_a_single_group_says_nothing_of_other_draws() -> None:
    assert by_tries(outcome(drawn(8, 5, 0), np.zeros(8, dtype=np.int64)))[2].interval == (0.0, 1.0)


def true_accuracy(quantile: float, tries: int) -> float:
    """Of the simulated defence of `test_coverage`: images differ with variance 2.32, draws of one image with 0.68, and
    an image is right on a draw below the quantile of their sum."""
    nodes, weights = hermegauss(200)
    right = ndtr((ndtri(quantile) * np.sqrt(3) - np.sqrt(2.32) * nodes) / np.sqrt(0.68))
    return float((weights * right**tries).sum() / weights.sum())


@pytest.mark.parametrize(("images", "draws", "tries", "accuracy"), [
    (40, 20, 5, 0.9), (128, 5, 5, 0.5), (128, 20, 2, 0.3), (128, 20, 20, 0.5), (500, 5, 3, 0.5)])
def test_how_often_an_interval_holds_what_fresh_draws_would_leave(images: int, draws: int, tries: int, accuracy: float
                                                                 ) -> None:
    truth, groups, held = true_accuracy(accuracy, tries), path_groups(0, images, PATHS), []
    for first, *_ in scores(3, groups, draws, 600):
        chance = all_right(first < ndtri(accuracy))[:, tries - 1]
        low, high = accuracy_interval(np.broadcast_to(chance[:, None], (images, draws)), groups)
        held.append(low <= truth <= high)
    assert LOWEST <= np.mean(held) <= HIGHEST


def test_where_next_to_nothing_is_left_no_interval_says_that_anything_may_be() -> None:
    """Of images that are right on few draws: hardly one is on 14 of 20."""
    rng = np.random.default_rng(0)
    correct = rng.random((64, 20)) < rng.beta(0.4, 1.2, (64, 1)) * 0.8
    outcome = Outcome("a", "p", correct, correct[:, 0], correct[:, 0], path_groups(0, 64, 16))
    highs = [each.interval[1] for each in by_tries(outcome)]
    assert all(one >= other for one, other in pairwise(highs))
    assert all(each.interval[0] <= each.accuracy <= each.interval[1] for each in by_tries(outcome))
