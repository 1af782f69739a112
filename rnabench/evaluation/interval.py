"""95 % intervals of an accuracy that count images and path draws as samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Z = 1.959963984540054
Bits = NDArray[np.bool_]


def accuracy_interval(correct: NDArray[Any], batches: NDArray[np.int64] | None = None) -> tuple[float, float]:
    """The interval of the mean of `correct` [N images, D draws] (bool, or numbers in [0, 1]), as two numbers in [0, 1].

    The variance of the mean has the parts of a two-way layout: between images (with the residual over draws), plus,
    where a draw is shared by a batch of images (`batches` [N] numbers them), between draws. The latter is estimated
    from the draws' effects within batches and from the spread between batches, whichever is larger: the second also
    holds what the attacker's one path per batch does. The result is Wilson's interval for the number of independent
    examples that would have this variance, widened (Student's t, Welch and Satterthwaite's degrees of freedom) where
    the draws' part rests on few batches; for a deterministic model it is exactly Wilson's interval for N images. A
    single draw shared by a single batch says nothing about other draws: the interval is then [0, 1].
    """
    images, draws = correct.shape
    share = float(correct.mean())
    per_image = correct.mean(1)
    between_images = float(per_image.var()) / images
    between_draws, degrees = 0.0, math.inf
    if batches is not None:
        numbers, sizes = np.unique(batches, return_counts=True)
        if len(numbers) * draws == 1:
            return 0.0, 1.0
        shared, degrees = max(_by_draw(correct, batches), _by_batch(per_image, batches))
        between_draws = shared * float((sizes.astype(float) ** 2).sum()) / images**2
    variance, binomial = between_images + between_draws, share * (1 - share)
    effective = binomial / variance if variance > 0 and binomial > 0 else float(images)
    if between_draws > 0:
        degrees = variance**2 / (between_draws**2 / degrees)
    return wilson(share, effective, Z if between_draws == 0 else float(stdtrit(degrees, 0.975)))


def difference_interval(first: Bits, second: Bits, batches: NDArray[np.int64] | None = None, level: float = 0.95
                        ) -> tuple[float, float, float]:
    """The mean of `first` less that of `second` on the same images, and its interval, as numbers in [-1, 1].

    Both are [N images, draws]; where both have draws, these are taken to be the same ones. The variance has the parts
    that `accuracy_interval` names, of the differences by image and draw.
    """
    draws = max(first.shape[1], second.shape[1]) if 1 in (first.shape[1], second.shape[1]) else min(
        first.shape[1], second.shape[1])
    apart = (first[:, :draws].astype(float) - second[:, :draws]) * np.ones((1, draws))
    images = len(apart)
    per_image = apart.mean(1)
    middle, variance, degrees = float(per_image.mean()), float(per_image.var()) / max(images - 1, 1), math.inf
    if batches is not None and len(np.unique(batches)) * draws > 1:
        _, sizes = np.unique(batches, return_counts=True)
        shared, few = max(_by_draw(apart, batches), _by_batch(per_image, batches))
        between = shared * float((sizes.astype(float) ** 2).sum()) / images**2
        variance += between
        degrees = variance**2 / (between**2 / few) if between > 0 else math.inf
    half = math.sqrt(variance) * float(stdtrit(min(degrees, 1e9), (1 + level) / 2))
    return middle, max(-1.0, middle - half), min(1.0, middle + half)


def ratio_interval(hits: Bits, counted: Bits, batches: NDArray[np.int64] | None = None
                   ) -> tuple[float, float, float] | None:
    """The share of `hits` among what is `counted`, both [N images, D draws], and its 95 % interval; None if nothing is.

    As in `accuracy_interval`, for the linearised ratio: the variance between images, plus, where draws are shared by
    batches, that between draws; Wilson's interval for as many trials as would have this variance. Without draws,
    exactly Wilson's for the number counted; a single draw shared by a single batch gives [0, 1].
    """
    total = int(counted.sum())
    if total == 0:
        return None
    images, draws = counted.shape
    share = float((hits & counted).sum()) / total
    if draws == 1 and batches is None:
        return share, *wilson(share, total)
    residual = ((hits & counted) - share * counted) * (images * draws / total)  # whose mean is the ratio's error
    per_image = residual.mean(1)
    variance, degrees = float(per_image.var()) / images, math.inf
    if batches is not None:
        numbers, sizes = np.unique(batches, return_counts=True)
        if len(numbers) * draws == 1:
            return share, 0.0, 1.0
        shared, few = max(_by_draw(residual, batches), _by_batch(per_image, batches))
        between = shared * float((sizes.astype(float) ** 2).sum()) / images**2
        variance += between
        degrees = variance**2 / (between**2 / few) if between > 0 else math.inf
    effective = share * (1 - share) / variance if variance > 0 and 0 < share < 1 else total / draws
    return share, *wilson(share, effective, Z if degrees == math.inf else float(stdtrit(degrees, 0.975)))


def wilson(share: float, count: float, z: float = Z) -> tuple[float, float]:
    """Wilson's interval of a share seen in `count` independent trials; 95 % unless another quantile `z` is given."""
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def _by_draw(correct: NDArray[Any], batches: NDArray[np.int64]) -> tuple[float, float]:
    """What the images of a batch have in common, from the draws' effects within batches: the variance of the batch's
    mean over its draws, and the estimate's degrees of freedom."""
    draws, total, degrees = correct.shape[1], 0.0, 0
    for number in np.unique(batches):
        block = correct[batches == number].astype(float)
        size = len(block)
        if size > 1 and draws > 1:
            effects = block.mean(0) - block.mean()
            residual = block - block.mean(1, keepdims=True) - effects
            noise = float((residual**2).sum()) / ((size - 1) * (draws - 1))
            total += float((effects**2).sum()) - (draws - 1) * noise / size
            degrees += draws - 1
    return (max(0.0, total / degrees) / draws, float(degrees)) if degrees else (0.0, math.inf)


def _by_batch(per_image: NDArray[np.float64], batches: NDArray[np.int64]) -> tuple[float, float]:
    """The same from the spread between batches beyond that within them (one-way analysis of variance)."""
    numbers, sizes = np.unique(batches, return_counts=True)
    count, total = len(numbers), len(per_image)
    if not 1 < count < total:
        return 0.0, math.inf
    means = np.array([per_image[batches == number].mean() for number in numbers])
    within = sum(float(((per_image[batches == number] - mean) ** 2).sum())
                 for number, mean in zip(numbers, means, strict=True))
    spread = float((sizes * (means - per_image.mean()) ** 2).sum()) / (count - 1)
    typical = (total - float((sizes.astype(float) ** 2).sum()) / total) / (count - 1)
    return max(0.0, (spread - within / (total - count)) / typical), float(count - 1)
