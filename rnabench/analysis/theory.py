"""Theorem 3.1 made measurable: the terms of its bound for a pair of networks, beside the measured transfer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from rnabench.analysis.smoothness import along_gradient, mean_gradient, path_losses, unit
from rnabench.analysis.subject import Subject
from rnabench.analysis.work import Arrays, OnBatch
from rnabench.data.batches import Batch

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Terms:
    """Eq. 7 for one pair. `bound` is None where the denominator is not positive: the theorem then says nothing.

    `risks` R_a + R_b; `target_loss` min L(x, y_A); `gradient` max |grad L|; `beta` max(beta_a, beta_b); `similarity` S;
    the denominator is target_loss - gradient eps (sqrt((1 + S) / 2) + 1) - beta eps^2.
    """

    risks: float
    target_loss: float
    gradient: float
    beta: float
    similarity: float
    denominator: float

    @property
    def bound(self) -> float | None:
        return self.risks / self.denominator if self.denominator > 0 else None


def network_terms(subject: Subject, lengths: Sequence[float]) -> OnBatch:
    """Per image of a network on its one path: the loss of the true class, `loss`, and of the likeliest wrong class
    (the y_A of an untargeted attacker), `target_loss`; the larger norm of their gradients, `gradient`; the largest
    effective beta-smoothness in the ball, `beta` (`along_gradient`'s `finite`)."""
    path = subject.fixed()
    view = subject.defence.on(path)

    def on_batch(batch: Batch, number: int) -> Arrays:
        with torch.no_grad():
            logits = view(batch.images).float()
        wrong = logits.scatter(1, batch.labels[:, None], -torch.inf).argmax(1)
        right = along_gradient(path_losses(subject.defence, [path], batch.labels), batch.images, lengths)
        values, slope = mean_gradient(path_losses(subject.defence, [path], wrong), batch.images)
        return {name: tensor.double().cpu().numpy() for name, tensor in {
            "loss": right.loss, "target_loss": values, "gradient": torch.maximum(right.gradient_norm, unit(slope)[1]),
            "beta": right.finite.nan_to_num(0.0),  # no gradient, nothing that changes
        }.items()}
    return on_batch


def pair_terms(first: Mapping[str, Floats], second: Mapping[str, Floats], cosines: Floats, eps: float,
               extremes: bool = True) -> Terms:
    """The terms of a pair from what `network_terms` gives for each, and the cosines [N] of their gradients.

    `eps` is Euclidean. With `extremes` the minimum and maxima over images, as the theorem has them; without, medians
    over images, and the mean cosine.
    """
    low, high = (np.min, np.max) if extremes else (np.median, np.median)
    target_loss = min(float(low(each["target_loss"])) for each in (first, second))
    gradient = max(float(high(each["gradient"])) for each in (first, second))
    beta = max(float(high(each["beta"])) for each in (first, second))
    similarity = float(np.nanmax(cosines) if extremes else np.nanmean(cosines))
    denominator = target_loss - gradient * eps * (math.sqrt((1 + similarity) / 2) + 1) - beta * eps**2
    return Terms(float(first["loss"].mean() + second["loss"].mean()), target_loss, gradient, beta, similarity,
                 denominator)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation; NaN for fewer than three pairs of values or if one side is constant."""
    if len(first) < 3 or len(set(first)) == 1 or len(set(second)) == 1:
        return math.nan
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


EXPECTED: dict[str, int] = {"risks": 1, "gradient": 1, "beta": 1, "similarity": 1, "target_loss": -1, "denominator": -1}
"""Whether the theorem's bound on transfer rises or falls with a term."""


def ordering(networks: Sequence[Mapping[str, Floats]], cosines: Floats, counted: Floats, hits: Floats, eps: float,
             resamples: int, generator: np.random.Generator) -> dict[str, Any]:
    """How the measured transfer of all pairs is ordered beside the order that each term predicts (medians over images).

    `cosines` [N, S, S]; `counted` and `hits` [N, S, S]: of source and target, whether an image was right on both, and
    also wrong after the attack. Rank correlations over unordered pairs, with 95 % bootstrap intervals over images.
    """
    count, size = cosines.shape[:2]
    pairs = [(a, b) for a in range(size) for b in range(a)]

    def correlations(rows: NDArray[np.int64]) -> dict[str, float]:
        taken = [{name: values[rows] for name, values in network.items()} for network in networks]
        terms = [pair_terms(taken[a], taken[b], cosines[rows, a, b], eps, extremes=False) for a, b in pairs]
        both = counted[rows].sum(0), hits[rows].sum(0)
        rates = [_rate(both[1][a, b], both[0][a, b]) / 2 + _rate(both[1][b, a], both[0][b, a]) / 2 for a, b in pairs]
        return {name: rank_correlation([getattr(each, name) for each in terms], rates) for name in EXPECTED}

    found = correlations(np.arange(count))
    drawn = [correlations(np.asarray(generator.integers(0, count, count))) for _ in range(resamples)]
    result = {}
    for name, value in found.items():
        spread = np.array([each[name] for each in drawn], dtype=float)
        known = spread[~np.isnan(spread)]
        interval = np.quantile(known, [0.025, 0.975]).tolist() if len(known) else [math.nan, math.nan]
        result[name] = {"rank_correlation": value, "interval95": interval, "expected_sign": EXPECTED[name]}
    return result


def _rate(hits: float, counted: float) -> float:
    return float(hits) / max(float(counted), 1.0)
