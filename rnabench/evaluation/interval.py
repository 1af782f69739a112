"""95 % intervals of an accuracy that count images and path draws as samples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054
Bits = NDArray[np.bool_]


def accuracy_interval(correct: Bits, batches: NDArray[np.int64] | None = None) -> tuple[float, float]:
    """The interval of the mean of `correct` [N images, D draws], as two numbers in [0, 1].

    The variance of the mean has the parts of a two-way layout: between images (with the residual over draws), plus,
    where a draw is shared by a batch of images (`batches` [N] numbers them), between draws. The latter is estimated
    from the draws' effects within batches and from the spread between batches, whichever is larger: the second also
    holds what the attacker's one path per batch does. The result is Wilson's interval for the number of independent
    examples that would have this variance; for a deterministic model it is exactly Wilson's interval for N images.
    """
    images = len(correct)
    share = float(correct.mean())
    per_image = correct.mean(1)
    variance = float(per_image.var()) / images
    if batches is not None:
        sizes = np.bincount(batches)
        sizes = sizes[sizes > 0]
        shared = _shared_variance(correct, per_image, batches)
        variance += shared * float((sizes.astype(float) ** 2).sum()) / images**2
    binomial = share * (1 - share)
    effective = binomial / variance if variance > 0 and binomial > 0 else float(images)
    return wilson(share, effective)


def wilson(share: float, count: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share seen in `count` independent trials."""
    centre = (share + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z / (1 + Z * Z / count) * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def _shared_variance(correct: Bits, per_image: NDArray[np.float64], batches: NDArray[np.int64]) -> float:
    """The variance that all images of a batch have in common, after averaging over its draws."""
    draws = correct.shape[1]
    between_draws, degrees = 0.0, 0
    means, sizes, within = [], [], 0.0
    for number in np.unique(batches):
        block = correct[batches == number].astype(float)
        size = len(block)
        means.append(block.mean())
        sizes.append(size)
        within += float(((per_image[batches == number] - block.mean()) ** 2).sum())
        if size > 1 and draws > 1:
            effects = block.mean(0) - block.mean()
            residual = block - block.mean(1, keepdims=True) - effects
            noise = float((residual**2).sum()) / ((size - 1) * (draws - 1))
            between_draws += float((effects**2).sum()) - (draws - 1) * noise / size
            degrees += draws - 1
    by_draw = max(0.0, between_draws / degrees) / draws if degrees else 0.0
    by_batch, count, total = 0.0, len(sizes), sum(sizes)
    if 1 < count < total:
        weights = np.array(sizes, dtype=float)
        spread = float((weights * (np.array(means) - np.average(means, weights=weights)) ** 2).sum()) / (count - 1)
        typical = (total - float((weights**2).sum()) / total) / (count - 1)
        by_batch = max(0.0, (spread - within / (total - count)) / typical)
    return max(by_draw, by_batch)
