"""The best mixture over paths against games whose solution is known, and what it can never be worse than."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnabench.scoring.mixture import Mixtures, best_mixture, values

GAMES = st.tuples(st.integers(1, 4), st.integers(2, 9), st.integers(1, 4), st.integers(0, 2**31))


def game(attacks: int, images: int, paths: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.random((attacks, images, paths)) < rng.random((attacks, 1, paths)))


def worth(right: np.ndarray, mixture: np.ndarray) -> float:
    return float(values(right, mixture).mean())


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_a_game_of_two_attacks_and_two_paths_has_its_known_value(entries: list[float]) -> None:
    """Of one image: a saddle point where there is one, else (ad - bc) / (a + d - b - c)."""
    matrix = np.array(entries).reshape(2, 2)
    (a, b), (c, d) = matrix
    lower, upper = matrix.min(0).max(), matrix.max(1).min()  # the defender chooses a column
    value = lower if upper - lower < 1e-12 else (a * d - b * c) / (a + d - b - c)
    right = matrix[:, None, :]
    assert worth(right, best_mixture(right)) == pytest.approx(value, abs=1e-7)


def test_each_attack_breaks_another_path() -> None:
    """Whoever draws evenly is right half the time, where every single path is always wrong."""
    right = np.repeat((1 - np.eye(2))[:, None], 6, axis=1)
    assert best_mixture(right) == pytest.approx([0.5, 0.5])
    found = Mixtures.of(right)
    assert found.mixture == pytest.approx(np.full(6, 0.5))
    assert found.single == pytest.approx(np.zeros(6))


@settings(max_examples=40, deadline=None)
@given(GAMES)
def test_on_the_images_that_it_is_chosen_on_nothing_is_better(size: tuple[int, int, int, int]) -> None:
    right = game(*size)
    paths = size[2]
    best = best_mixture(right)
    assert best.sum() == pytest.approx(1)
    assert best.min() >= 0
    others = [np.full(paths, 1 / paths), *np.eye(paths), *np.random.default_rng(size[3]).dirichlet(np.ones(paths), 20)]
    assert worth(right, best) >= max(worth(right, other) for other in others) - 1e-7


@settings(max_examples=20, deadline=None)
@given(GAMES)
def test_what_is_scored_has_no_say_in_what_is_chosen(size: tuple[int, int, int, int]) -> None:
    right = game(*size)
    found, changed = Mixtures.of(right), right.copy()
    changed[:, ::2] = ~right[:, ::2]  # the half that the first mixture is scored on
    again = Mixtures.of(changed)
    assert again.chosen[0] == pytest.approx(found.chosen[0])
    assert found.mixture[::2] == pytest.approx(values(right[:, ::2], found.chosen[0]))
    assert found.in_sample >= found.uniform.mean() - 1e-7


def test_of_one_path_all_are_that_path() -> None:
    right = game(3, 8, 1, 0)
    found = Mixtures.of(right)
    for each in (found.mixture, found.single, found.uniform):
        assert np.array_equal(each, right.min(0)[:, 0])
