"""Theorem 3.1: the terms by hand, the order by an independent implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rnabench.attack.losses import cross_entropy
from rnabench.studies.measure.subject import at_rest
from rnabench.studies.measure.theory import (
    network_terms,
    ordering,
    pair_terms,
    rank_correlation,
    similarities,
    summary,
)
from tests.helpers import lively_model
from tests.studies.test_transfer import deployed, work

NUMBERS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=12)


def network(loss: float, target: float, gradient: float, beta: float, count: int = 4) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    steps = np.arange(count) / 10  # so that extremes and medians differ
    return {"loss": loss + 0 * steps, "target_loss": target + steps, "gradient": gradient - steps, "beta": beta - steps}


def test_the_bound_by_hand() -> None:
    one, other = network(0.2, 4.0, 1.0, 0.5), network(0.3, 5.0, 0.8, 0.9)
    cosines = np.array([0.1, 0.5, np.nan, 0.3])[:, None, None]
    largest, mean = (float(similarities(cosines, extremes)[0, 0]) for extremes in (True, False))
    assert (largest, mean) == (0.5, pytest.approx(0.3))
    terms = pair_terms(summary(one, True), summary(other, True), largest, eps=0.5)
    expected = 4.0 - 1.0 * 0.5 * (math.sqrt(0.75) + 1) - 0.9 * 0.25
    assert terms.denominator == pytest.approx(expected)
    assert terms.bound == pytest.approx(0.5 / expected)
    middle = pair_terms(summary(one, False), summary(other, False), mean, eps=0.5)
    assert middle.denominator == pytest.approx(4.15 - 0.85 * 0.5 * (math.sqrt(0.65) + 1) - 0.75 * 0.25)
    assert pair_terms(summary(one, True), summary(other, True), largest, eps=10).bound is None


def test_a_pair_without_cosines_has_no_similarity() -> None:
    assert np.isnan(similarities(np.full((3, 2, 2), np.nan), True)).all()
    assert np.isnan(similarities(np.full((3, 2, 2), np.nan), False)).all()


@given(st.floats(0.01, 3), st.floats(0, 1), st.floats(-1, 1), st.floats(-1, 1))
def test_the_bound_moves_as_the_theorem_says(gradient: float, beta: float, low: float, high: float) -> None:
    """More similar, steeper or rougher never lowers the bound's permission to transfer."""
    low, high = sorted((low, high))
    base = summary(network(0.2, 9.0, gradient, beta), True)
    one = pair_terms(base, base, low, 0.3).denominator
    assert pair_terms(base, base, high, 0.3).denominator <= one
    assert pair_terms(base, base | {"gradient": gradient + 1}, low, 0.3).denominator <= one
    assert pair_terms(base, base | {"beta": beta + 1}, low, 0.3).denominator <= one


@given(NUMBERS)
def test_rank_correlation_is_spearmans(values: list[tuple[int, int]]) -> None:
    first, second = ([float(value) for value in side] for side in zip(*values, strict=True))
    found = rank_correlation(first, second)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert math.isnan(found)
    else:
        ranks = [[sum(other < one for other in side) + side.count(one) / 2 for one in side] for side in (first, second)]
        assert found == pytest.approx(np.corrcoef(ranks)[0, 1])
        assert rank_correlation([*first, 5.0, math.nan], [*second, math.nan, 1.0]) == found


def test_the_order_is_found_where_there_is_one() -> None:
    """Five networks whose gradients agree the more the further down the list a pair is; images are fooled so, too."""
    size, count = 5, 200
    rng = np.random.default_rng(0)
    level = np.zeros((size, size))
    pairs = [(first, second) for first in range(size) for second in range(first)]
    for rank, (a, b) in enumerate(pairs):
        level[a, b] = level[b, a] = 0.05 + 0.09 * rank
    cosines = np.clip(level + 0.05 * rng.standard_normal((count, size, size)), -1, 1)
    counted = np.ones((count, size, size))
    hits = (rng.random((count, size, size)) < level).astype(float)
    same = np.ones(count)
    networks = [{"loss": 0.1 * place * same, "target_loss": 3 * same, "gradient": same, "beta": 0.1 * same}
                for place in range(size)]
    found = ordering(networks, cosines, counted, hits, 0.1, 200, np.random.default_rng(1))
    low, high = found["similarity"]["interval95"]
    assert 0.7 < low <= found["similarity"]["rank_correlation"] <= high <= 1
    # all else is equal, so the denominator falls as similarity rises
    assert found["denominator"]["rank_correlation"] == pytest.approx(-found["similarity"]["rank_correlation"])
    # gradient and beta are the same for all pairs: there is no order to compare
    assert math.isnan(found["gradient"]["rank_correlation"])


def test_terms_of_a_network() -> None:
    model = lively_model("bn")
    with at_rest([model]):
        found = work()("x", network_terms(deployed(model), [0.1]))
        batch = next(work().source.in_order(12))
        with torch.no_grad():
            logits = model(batch.images)
    losses = torch.stack([cross_entropy(logits, torch.full((12,), c)) for c in range(10)], 1)
    right = losses.gather(1, batch.labels[:, None])[:, 0]
    wrong = losses.scatter(1, batch.labels[:, None], torch.inf).amin(1)
    assert np.allclose(found["loss"], right.numpy(), atol=1e-5)
    assert np.allclose(found["target_loss"], wrong.numpy(), atol=1e-5)
    assert (found["gradient"] > 0).all()
    assert (found["beta"] >= 0).all()
