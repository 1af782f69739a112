"""Theorem 3.1 made measurable: the terms of its bound for a pair of networks, beside the measured transfer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from rnabench.data.batches import Batch
from rnabench.seeding import derive
from rnabench.settings.studies import Results
from rnabench.studies.measure.smoothness import along_gradient, path_losses
from rnabench.studies.measure.subject import Subject
from rnabench.studies.measure.transfer import TransferEntry
from rnabench.studies.measure.work import Arrays, OnBatch

Floats = NDArray[np.float64]
RESAMPLES = 1000


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
    (the y_A of an untargeted attacker), `target_loss`; the larger norm of their gradients, `gradient`; the larger
    effective beta-smoothness of the two along their gradients, up to the last length, `beta` (`along_gradient`'s
    `finite`)."""
    path = subject.fixed()
    view = subject.defence.on(path)

    def on_batch(batch: Batch, first: int) -> Arrays:
        with torch.no_grad():
            logits = view(batch.images).float()
        wrong = logits.scatter(1, batch.labels[:, None], -torch.inf).argmax(1)
        right = along_gradient(path_losses(subject.defence, [path], batch.labels), batch.images, lengths)
        target = along_gradient(path_losses(subject.defence, [path], wrong), batch.images, lengths)
        return {name: tensor.double().cpu().numpy() for name, tensor in {
            "loss": right.loss, "target_loss": target.loss,
            "gradient": torch.maximum(right.gradient_norm, target.gradient_norm),
            # without a gradient there is nothing that changes
            "beta": torch.maximum(right.finite.nan_to_num(0.0), target.finite.nan_to_num(0.0)),
        }.items()}
    return on_batch


Summary = dict[str, float]


def summary(network: Mapping[str, Floats], extremes: bool) -> Summary:
    """One number for each of a network's terms: the mean loss; and of the others the minimum (`target_loss`) or maximum
    over images, as the theorem has them, or, without `extremes`, the median."""
    low, high = (np.min, np.max) if extremes else (np.median, np.median)
    return {"loss": float(network["loss"].mean()), "target_loss": float(low(network["target_loss"])),
            "gradient": float(high(network["gradient"])), "beta": float(high(network["beta"]))}


def pair_terms(first: Summary, second: Summary, similarity: float, eps: float) -> Terms:
    """The terms of a pair; `similarity` is the largest or the mean cosine of their gradients, `eps` Euclidean."""
    target_loss = min(first["target_loss"], second["target_loss"])
    gradient, beta = (max(first[name], second[name]) for name in ("gradient", "beta"))
    denominator = target_loss - gradient * eps * (math.sqrt((1 + similarity) / 2) + 1) - beta * eps**2
    return Terms(first["loss"] + second["loss"], target_loss, gradient, beta, similarity, denominator)


def similarities(cosines: Floats, extremes: bool) -> Floats:
    """The largest or the mean cosine [S, S] over images, of [N, S, S]; NaN for a pair that has none."""
    known = ~np.isnan(cosines)
    if extremes:
        found = np.where(known, cosines, -np.inf).max(0)
    else:
        found = np.where(known, cosines, 0.0).sum(0) / np.maximum(known.sum(0), 1)
    return np.where(known.any(0), found, np.nan)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation over the pairs that have both values; NaN for fewer than three, or if one side is
    constant."""
    pairs = np.array([first, second], dtype=float)
    pairs = pairs[:, ~np.isnan(pairs).any(0)]
    if pairs.shape[1] < 3 or (np.ptp(pairs, axis=1) == 0).any():
        return math.nan
    return float(spearmanr(*pairs).statistic)


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
        sums = [summary({name: values[rows] for name, values in network.items()}, extremes=False)
                for network in networks]
        alike = similarities(cosines[rows], extremes=False)
        terms = [pair_terms(sums[a], sums[b], float(alike[a, b]), eps) for a, b in pairs]
        with np.errstate(invalid="ignore"):
            rates = hits[rows].sum(0) / counted[rows].sum(0)  # NaN where nothing is counted
        means = [float(rates[a, b] + rates[b, a]) / 2 for a, b in pairs]
        return {name: rank_correlation([getattr(each, name) for each in terms], means) for name in EXPECTED}

    found = correlations(np.arange(count))
    # scipy.stats.bootstrap has no interval left as soon as one resample has no value; here that one does not count
    drawn = [correlations(np.asarray(generator.integers(0, count, count))) for _ in range(resamples)]
    result = {}
    for name, value in found.items():
        spread = np.array([each[name] for each in drawn], dtype=float)
        known = spread[~np.isnan(spread)]
        interval = np.quantile(known, [0.025, 0.975]).tolist() if len(known) else [math.nan, math.nan]
        result[name] = {"rank_correlation": value, "interval95": interval, "expected_sign": EXPECTED[name]}
    return result


def terms_of_pairs(chosen: Sequence[Subject], networks: Sequence[Mapping[str, Floats]],
                   matrix: Sequence[Sequence[TransferEntry]], cosines: Floats, eps: float) -> list[Results]:
    """Of every pair, as JSON: the measured transfer in both directions, and the terms with extremes and with medians
    over images."""
    ways = {"extremes": True, "medians": False}
    alike = {name: similarities(cosines, extremes) for name, extremes in ways.items()}
    sums = {name: [summary(each, extremes) for each in networks] for name, extremes in ways.items()}
    pairs = []
    for b in range(len(chosen)):
        for a in range(b):
            terms = {name: pair_terms(sums[name][a], sums[name][b], float(alike[name][a, b]), eps) for name in ways}
            pairs.append({"a": chosen[a].label, "b": chosen[b].label,
                          "transfer": [_rate(matrix[a][b]), _rate(matrix[b][a])],
                          **{name: vars(each) | {"bound": each.bound} for name, each in terms.items()}})
    return pairs


def _rate(cell: TransferEntry) -> Results:
    success = cell.success
    return {"rate": None if success is None else success[0],
            "joint": float((cell.source & cell.before & ~cell.after).mean()),
            "interval95": None if success is None else list(success[1:])}


def order_of_pairs(networks: Sequence[Mapping[str, Floats]], matrix: Sequence[Sequence[TransferEntry]], cosines: Floats,
                   eps: float, seed: int) -> Results:
    """`ordering`, of the first draw of every cell of the transfer matrix."""
    counted = np.stack([np.stack([(cell.source & cell.before)[:, 0] for cell in row], 1) for row in matrix], 1)
    after = np.stack([np.stack([cell.after[:, 0] for cell in row], 1) for row in matrix], 1)
    return ordering(networks, cosines, counted.astype(float), (counted & ~after).astype(float), eps, RESAMPLES,
                    np.random.default_rng(derive(seed, "bootstrap")))
