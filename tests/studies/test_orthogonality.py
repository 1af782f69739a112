"""Orthogonality: of a path with itself, of random directions, and of cosines that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rnabench.errors import InvalidValue
from rnabench.model.classifier import RandomizedClassifier
from rnabench.path.path import Path
from rnabench.scoring.interval import crossed_share, mean_interval
from rnabench.studies.measure import orthogonality as measuring
from rnabench.studies.measure.orthogonality import SubNetworks, orthogonality
from rnabench.studies.measure.similarity import cosine, random_orthogonality
from rnabench.studies.measure.subject import at_rest
from rnabench.studies.measure.transfer import transfer
from rnabench.studies.orthogonality import Orthogonality
from tests.helpers import lively_model
from tests.studies.test_rows_and_figures import model as described
from tests.studies.test_rows_and_figures import record
from tests.studies.test_transfer import SPEC, deployed, keys, work


def cells(*models: RandomizedClassifier, pairs: int = 3, attacked: bool = True) -> list[list[SubNetworks]]:
    networks = [(str(number), model) for number, model in enumerate(models)]
    with at_rest(models):
        return orthogonality(networks, SPEC if attacked else None, pairs, keys(), 10, work())


@pytest.mark.parametrize("dimension", [2, 3, 48, 3072])
def test_the_floor_is_what_random_directions_have(dimension: int) -> None:
    generator, count = torch.Generator().manual_seed(0), 4000
    one, other = (torch.randn(count, dimension, generator=generator) for _ in range(2))
    apart = 1 - cosine(one, other).abs()
    assert float(apart.mean()) == pytest.approx(random_orthogonality(dimension),
                                                abs=5 * float(apart.std()) / math.sqrt(count))


def test_the_floor_where_it_is_known() -> None:
    assert random_orthogonality(2) == pytest.approx(1 - 2 / math.pi)  # the mean of |cos| over the circle
    assert random_orthogonality(3) == pytest.approx(0.5)  # Archimedes: uniform on the sphere's axis
    assert random_orthogonality(3072) == pytest.approx(0.9856, abs=5e-5)


@pytest.mark.parametrize("attacked", [True, False])
def test_a_sub_network_with_itself(attacked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    same = [(Path.of(0, 1, 0, 1, 0, 1),) * 2] * 3
    monkeypatch.setattr(measuring, "drawn_paths", lambda *_: [same])
    (cell,), = cells(lively_model("bn+in"), attacked=attacked)
    found = cell.as_json()
    assert found["orthogonality"][0] == pytest.approx(0, abs=1e-6)
    assert found["agreement"][0] == 1
    assert found["success"] == found["source_success"]
    assert (found["success"] is None) == (not attacked)


def test_a_network_that_does_not_draw_is_parallel_to_itself_and_to_its_copy() -> None:
    matrix = cells(lively_model("bn"), lively_model("bn"), lively_model("bn", seed=1))
    for a, b in ((0, 0), (0, 1), (1, 0)):
        assert matrix[a][b].cosine.shape == (12, 1)
        assert np.allclose(matrix[a][b].cosine, 1)
        assert matrix[a][b].same.all()
    assert not np.allclose(matrix[0][2].cosine, 1)
    assert np.array_equal(matrix[0][2].right, matrix[1][2].right)


def test_transfer_is_that_of_the_transfer_matrix() -> None:
    models = [lively_model("bn"), lively_model("in", seed=2)]
    matrix = cells(*models)
    with at_rest(models):
        expected = transfer([deployed(model, str(n)) for n, model in enumerate(models)], SPEC, keys(), 10, work())
    for a in range(2):
        for b in range(2):
            cell, entry = matrix[a][b], expected[a][b]
            assert cell.before is not None
            assert cell.target_fails is not None
            assert np.array_equal(cell.before, entry.source & entry.before)
            assert np.array_equal(cell.target_fails, ~entry.after)


def test_pairs_are_those_that_were_drawn() -> None:
    """By hand, on clean images: gradients on the first path against gradients on the second."""
    model, plain = lively_model("bn+in"), lively_model("bn", seed=4)
    matrix = cells(model, plain, attacked=False)
    networks = [("0", model), ("1", plain)]
    batch = next(work().source.in_order(12))
    drawn = measuring.drawn_paths(networks, 3, 0)
    assert [len(paths) for paths in drawn] == [3, 1]

    def gradient(network: RandomizedClassifier, path: Path) -> torch.Tensor:
        images = batch.images.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(network.on(path)(images), batch.labels, reduction="sum")
        return torch.autograd.grad(loss, images)[0].flatten(1)
    for number, (first, second) in enumerate(drawn[0]):
        pair = torch.cosine_similarity(gradient(model, first), gradient(model, second))
        assert np.allclose(matrix[0][0].cosine[:, number], pair, atol=1e-5)
        pair = torch.cosine_similarity(gradient(model, first), gradient(plain, Path(((),))))
        assert np.allclose(matrix[0][1].cosine[:, number], pair, atol=1e-5)
        pair = torch.cosine_similarity(gradient(plain, Path(((),))), gradient(model, second))
        assert np.allclose(matrix[1][0].cosine[:, number], pair, atol=1e-5)
        assert np.array_equal(matrix[0][0].same[:, number],
                              model.on(first)(batch.images).argmax(1) == model.on(second)(batch.images).argmax(1))


def test_a_gradient_of_zero_has_no_direction() -> None:
    known = np.array([[np.nan, 0.5], [1.0, -1.0], [np.nan, np.nan]])
    yes = np.ones((3, 2), dtype=bool)
    found = SubNetworks(known, yes, yes).as_json()
    assert found["undefined"] == 3
    assert found["orthogonality"][0] == pytest.approx(0.5 / 3)
    assert sum(found["cosines"]) == 3
    nothing = SubNetworks(np.full((3, 2), np.nan), yes, yes).as_json()
    assert nothing["orthogonality"] is None


def test_the_study_needs_two_sub_networks() -> None:
    with pytest.raises(InvalidValue, match="a randomised network, or two networks"):
        Orthogonality().compute([("bn", lively_model("bn"))], 10, work())


@pytest.mark.parametrize(("level", "expected"), [(0.9, "below the floor"), (0.0, "above the floor")])
def test_the_verdict_against_the_floor(level: float, expected: str) -> None:
    rng = np.random.default_rng(0)
    cosines = np.clip(level + 1e-3 * rng.standard_normal((40, 4)), -1, 1)
    yes = np.ones((40, 4), dtype=bool)
    results = {"subjects": [{"label": "rs", "draws": True}], "dimension": 48, "floor": random_orthogonality(48),
               "bins": measuring.BINS.tolist(), "cells": [[SubNetworks(cosines, yes, yes).as_json()]]}
    drawn = record(results, described("rs", "bn+in"))
    drawn["keys"]["images"] = "clean"
    (said,) = Orthogonality.findings(drawn)
    assert expected in said
    assert "agree on 100.0" in said
    assert Orthogonality.figures(drawn)[""].axes


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=2, max_size=20))
def test_the_mean_of_pairs_by_hand(values: list[tuple[float, float]]) -> None:
    table = np.array(values)
    found = mean_interval(table)
    assert found is not None
    mean, low, high = found
    assert mean == pytest.approx(table.mean(), abs=1e-9)
    assert low <= mean <= high
    shifted = mean_interval(table + 3)
    assert shifted is not None
    assert np.allclose(shifted, np.array(found) + 3, atol=1e-6)


@pytest.mark.parametrize("draws", [1, 6])
def test_the_interval_of_a_mean_covers(draws: int) -> None:
    """Simulated: images and draws have effects of their own; the interval holds the truth about as often as said."""
    rng, inside = np.random.default_rng(0), 0
    for _ in range(400):
        values = 0.7 + 0.1 * rng.standard_normal((30, 1)) + 0.1 * rng.standard_normal((30, draws))
        values = values + (0.05 * rng.standard_normal((1, draws)) if draws > 1 else 0)
        found = mean_interval(values)
        assert found is not None
        inside += found[1] <= 0.7 <= found[2]
    assert inside / 400 > 0.92


def test_shares_of_what_is_counted() -> None:
    hits, counted = np.array([[True, False], [True, True]]), np.array([[True, True], [False, True]])
    found = crossed_share(hits, counted)
    assert found is not None
    assert found[0] == pytest.approx(2 / 3)
    assert 0 <= found[1] <= found[0] <= found[2] <= 1
    assert crossed_share(hits, np.zeros_like(hits)) is None
