"""The worst case over attacks, and differences between models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnabench.scoring.headline import worst_case
from rnabench.scoring.interval import accuracy_interval, difference_interval
from rnabench.scoring.outcome import Outcome


def outcome(correct: np.ndarray, name: str = "a", batches: np.ndarray | None = None) -> Outcome:
    return Outcome(name, "eot:20", correct, correct.mean(1) > 0.5, correct[:, 0], batches)


@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 7), st.integers(1, 12))
def test_the_worst_case_is_no_better_than_any_single_attack(seed: int, attacks: int, draws: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    found = [outcome(rng.random((images, draws)) < rng.random((images, 1))) for _ in range(attacks)]
    headline = worst_case(found)
    assert headline is not None
    assert headline.outcome.accuracy <= min(each.accuracy for each in found) + 1e-12
    assert headline.worst <= headline.outcome.worst
    assert headline.worst == pytest.approx(np.stack([each.correct for each in found]).all((0, 2)).mean())


def test_for_a_deterministic_model_it_is_right_under_every_attack() -> None:
    first, second = np.array([[1], [1], [0], [0]], dtype=bool), np.array([[1], [0], [1], [0]], dtype=bool)
    headline = worst_case([outcome(first), outcome(second)])
    assert headline is not None
    assert headline.outcome.correct[:, 0].tolist() == [True, False, False, False]
    assert headline.worst == headline.outcome.accuracy == 0.25


def test_equally_strong_attacks_do_not_add_up_to_a_stronger_one() -> None:
    """Twenty attacks, each of which leaves half of all (image, draw) pairs right by pure chance: choosing and scoring
    on the same draws would make 0.5 look like 0.3."""
    rng = np.random.default_rng(0)
    headline = worst_case([outcome(rng.random((2000, 20)) < 0.5) for _ in range(20)])
    assert headline is not None
    assert headline.outcome.accuracy == pytest.approx(0.5, abs=0.01)


def test_an_attack_that_is_better_for_some_images_counts_there() -> None:
    left, right = np.ones((10, 6), dtype=bool), np.ones((10, 6), dtype=bool)
    left[:5], right[5:] = False, False
    headline = worst_case([outcome(left), outcome(right)])
    assert headline is not None
    assert headline.outcome.accuracy == 0


def test_nothing_to_choose_from() -> None:
    assert worst_case([]) is None


def test_the_difference_of_a_model_from_itself_is_zero() -> None:
    correct = np.random.default_rng(0).random((50, 5)) < 0.7
    gap, low, high = difference_interval(correct, correct)
    assert gap == 0
    assert -0.05 < low == -high < 0  # fifty images that agree do not prove that all do


@pytest.mark.parametrize("draws", [1, 10])
def test_differences_are_covered(draws: int) -> None:
    """Two models with known accuracies on the same images, draws shared by batches of 20: the interval holds the truth
    in about 95 of 100 repetitions."""
    rng, inside, repetitions = np.random.default_rng(1), 0, 300
    batches = np.arange(200) // 20
    for _ in range(repetitions):
        image = rng.normal(size=(200, 1))
        shift = rng.normal(size=(10, draws))[batches] * 0.5 if draws > 1 else 0.0
        first = image + shift + rng.normal(size=(200, draws)) > 0
        second = image + rng.normal(size=(200, 1)) > 0
        _, low, high = difference_interval(first, second, batches if draws > 1 else None)
        inside += low <= 0 <= high  # both are right with probability 1/2 over images and draws
    assert inside / repetitions > 0.9


def test_an_interval_of_a_difference_is_wider_for_fewer_images() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.random((400, 1)) < 0.8, rng.random((400, 1)) < 0.6
    wide, narrow = (difference_interval(first[:n], second[:n]) for n in (50, 400))
    assert wide[2] - wide[1] > narrow[2] - narrow[1]
    assert accuracy_interval(first)[0] > accuracy_interval(second)[1] or narrow[1] > 0
