"""95 % intervals that count images and path draws as samples.

The units of an evaluation are images and, where a draw of a path serves a group of images, groups. Group means are
independent: other images, other attack paths, other scoring draws. So the variance of an overall mean can be read from
the spread between groups, whatever the paths do; and, as if the paths did nothing, from the spread between images. The
larger of the two counts: the first with Student's quantile for the number of groups, the second with the normal one.
The spread between few images may be zero by luck (all eight are right): two more images are counted with them, which
vary as much as single outcomes can.

`docs/pages/concepts/intervals.md` has the coverage of all this by simulation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import nctdtr, stdtr, stdtrit

Z = 1.959963984540054
EXTRA_IMAGES = 2
APART = 0.25  # the largest variance of a single outcome
FEW_GROUPS = 8  # with fewer, the paths are too few to say how others would do: tables mark the cell
Bits = NDArray[np.bool_]
Groups = NDArray[np.int64]


def too_few_groups(groups: Groups | None) -> bool:
    """Whether the images shared so few path draws that an interval of their outcomes is little more than a guess."""
    return groups is not None and len(np.unique(groups)) < FEW_GROUPS


def accuracy_interval(correct: NDArray[Any], groups: Groups | None = None) -> tuple[float, float]:
    """The 95 % interval of the mean of `correct` [N images, D draws] (bool, or numbers in [0, 1]), in [0, 1].

    `groups` [N] numbers the groups of images that shared their draws; None: no two images shared one. The result is
    Wilson's interval for as many independent images as would have the mean's variance (where D is 1 and no two images
    share a draw, as for a deterministic model, exactly Wilson's for N images). A single group says nothing about other
    draws: the interval is then [0, 1].
    """
    images, draws = correct.shape
    share = float(correct.mean())
    if draws == 1 and _alone(groups, images):
        return wilson(share, images)
    if groups is not None and len(np.unique(groups)) == 1 and images > 1:
        return 0.0, 1.0
    guess = (share * images + 2) / (images + 4)  # of a share that may be 0 or 1 by luck
    variance, degrees = _of_mean(correct.mean(1), groups, guess * (1 - guess))
    return wilson(share, _effective(share, variance, images, images * draws), _quantile(degrees, 0.95))


def ratio_interval(hits: Bits, counted: Bits, groups: Groups | None = None) -> tuple[float, float, float] | None:
    """The share of `hits` among what is `counted`, both [N images, D draws], and its 95 % interval; None if nothing is.

    As in `accuracy_interval`, for the linearised ratio. Without draws, exactly Wilson's for the number counted.
    """
    total = int(counted.sum())
    if total == 0:
        return None
    images, draws = counted.shape
    share = float((hits & counted).sum()) / total
    if draws == 1 and _alone(groups, images):
        return share, *wilson(share, total)
    if groups is not None and len(np.unique(groups)) == 1 and images > 1:
        return share, 0.0, 1.0
    residual = ((hits & counted) - share * counted) * (images * draws / total)  # whose mean is the ratio's error
    guess = (share * total / draws + 2) / (total / draws + 4)
    variance, degrees = _of_mean(residual.mean(1), groups, guess * (1 - guess) * images * draws / total)
    return share, *wilson(share, _effective(share, variance, total / draws, total), _quantile(degrees, 0.95))


@dataclass(frozen=True)
class Difference:
    """How much larger one mean is than another, on the same images: `gap` in [-1, 1], its standard `error`, and the
    `degrees` of freedom of that (infinite: normal)."""

    gap: float
    error: float
    degrees: float

    def margin(self, level: float = 0.95) -> float:
        """How far from the gap the true difference may be."""
        return self.error * _quantile(self.degrees, level)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """What the true difference may be, in [-1, 1]."""
        half = self.margin(level)
        return max(-1.0, self.gap - half), min(1.0, self.gap + half)

    @property
    def p_value(self) -> float:
        """Two-sided: how probable a gap as large as this is, were there no difference."""
        if self.error == 0:
            return 1.0 if self.gap == 0 else 0.0
        return float(2 * stdtr(min(self.degrees, 1e9), -abs(self.gap) / self.error))

    def detectable(self, power: float = 0.8, level: float = 0.95) -> float:
        """The smallest true difference that would have been told from none with this probability."""
        quantile, degrees = _quantile(self.degrees, level), min(self.degrees, 1e6)
        low, high = 0.0, 20.0 + 2 * quantile  # in standard errors; bisection on the noncentral t distribution
        for _ in range(60):
            middle = (low + high) / 2
            found = 1 - float(nctdtr(degrees, middle, quantile))
            low, high = (middle, high) if found < power else (low, middle)
        return min(2.0, self.error * high)


def difference(first: NDArray[Any], second: NDArray[Any], groups: Groups | None = None) -> Difference:
    """The mean of `first` less that of `second`, [N images, draws] each on the same images, with its error.

    Where both have draws, these are taken to be the same ones; a model without draws is compared with each. `groups`
    as in `accuracy_interval`: those of either model that has some. A single group says nothing about other draws: its
    error is infinite.
    """
    draws = max(first.shape[1], second.shape[1]) if 1 in (first.shape[1], second.shape[1]) else min(
        first.shape[1], second.shape[1])
    apart = (first[:, :draws].astype(float) - second[:, :draws]) * np.ones((1, draws))
    gap, images = float(apart.mean()), len(apart)
    if images == 1 or (groups is not None and len(np.unique(groups)) == 1):
        return Difference(gap, math.inf, 1.0)
    variance, degrees = _of_mean(apart.mean(1), groups, APART)  # all images may agree by luck
    return Difference(gap, math.sqrt(variance), degrees if degrees < math.inf else images - 1.0)


def difference_interval(first: NDArray[Any], second: NDArray[Any], groups: Groups | None = None, level: float = 0.95
                        ) -> tuple[float, float, float]:
    """The gap of `difference`, and its interval, as numbers in [-1, 1]."""
    found = difference(first, second, groups)
    return found.gap, *found.interval(level)


def crossed_interval(values: NDArray[Any]) -> tuple[float, float]:
    """The 95 % interval of the mean of `values` [N images, D draws], where all images meet the same D draws and each
    draw is a whole experiment (its own attacked and predicting path). A single draw gives [0, 1]."""
    found = crossed_difference(values, np.zeros((1, 1)))
    share = float(values.mean())
    if found.error == math.inf:
        return 0.0, 1.0
    return wilson(share, _effective(share, found.error**2, len(values), values.size), _quantile(found.degrees, 0.95))


def crossed_difference(first: NDArray[Any], second: NDArray[Any]) -> Difference:
    """The mean of `first` less that of `second`, [N images, D draws] each, of such draws: the variance has a part of
    images and one of draws, with Satterthwaite's degrees of freedom."""
    apart = np.asarray(first, dtype=float) - second
    gap, draws = float(apart.mean()), apart.shape[1]
    if draws == 1:
        return Difference(gap, math.inf, 1.0)
    of_images, _ = _of_mean(apart.mean(1), None, APART)
    of_draws = float(apart.mean(0).var(ddof=1)) / draws
    variance = of_images + of_draws
    degrees = variance**2 / (of_draws**2 / (draws - 1)) if of_draws > 0 else math.inf
    return Difference(gap, math.sqrt(variance), degrees)


def crossed_share(hits: Bits, counted: Bits) -> tuple[float, float, float] | None:
    """The share of `hits` among what is `counted`, both [N images, D draws], and its 95 % interval, where all images
    meet the same D draws; None if nothing is counted. A single column is of what does not draw."""
    total = int(counted.sum())
    if total == 0:
        return None
    share = float((hits & counted).sum()) / total
    linear = share + counted * (hits - share) * (counted.size / total)  # its mean errs as the share does
    if linear.shape[1] == 1:
        linear = np.repeat(linear, 2, axis=1)  # another draw would be the same
    return share, *crossed_interval(linear)


def mean_interval(values: NDArray[Any]) -> tuple[float, float, float] | None:
    """The mean of numbers of any size, and its 95 % interval by Student's t. `values`: [N] independent ones, or [N
    images, D draws] where all images meet the same D draws (one of them: of what does not draw). NaN are left out; None
    if all are. The limits are NaN for a single image."""
    table = np.asarray(values, dtype=float).reshape(len(values), -1)
    counted = ~np.isnan(table)
    if not counted.any():
        return None
    mean = float(table[counted].mean())
    linear = np.where(counted, table - mean, 0.0) * (table.size / counted.sum())
    if len(table) == 1:
        return mean, math.nan, math.nan
    parts = [(float(each.var(ddof=1)) / len(each), len(each) - 1.0)
             for each in (linear.mean(1), linear.mean(0)) if len(each) > 1]
    variance, slack = sum(part for part, _ in parts), sum(part**2 / degrees for part, degrees in parts)
    half = _quantile(variance**2 / slack, 0.95) * math.sqrt(variance) if slack > 0 else 0.0
    return mean, mean - half, mean + half


def wilson(share: float, count: float, z: float = Z) -> tuple[float, float]:
    """Wilson's interval of a share seen in `count` independent trials; 95 % unless another quantile `z` is given."""
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def _alone(groups: Groups | None, images: int) -> bool:
    """Whether no two images shared a draw."""
    return groups is None or len(np.unique(groups)) == images


def _of_mean(per_image: NDArray[Any], groups: Groups | None, largest: float) -> tuple[float, float]:
    """The variance of the mean of `per_image` [N], and its degrees of freedom; `largest`: the variance that a
    single outcome can have."""
    images, apart = len(per_image), per_image - per_image.mean()
    between_images = (float(np.square(apart).sum()) + EXTRA_IMAGES * largest) / images**2
    if groups is None:
        return between_images, math.inf
    _, number = np.unique(groups, return_inverse=True)
    sums = np.bincount(number, apart)  # a group's share in the error of the mean, times N
    between_groups = float(np.square(sums).sum()) / images**2 * len(sums) / max(len(sums) - 1, 1)
    few = len(sums) < FEW_GROUPS and len(sums) < images  # too few to say that paths do nothing
    if few or between_groups > between_images:
        return max(between_groups, between_images), max(len(sums) - 1.0, 1.0)
    return between_images, math.inf


def _effective(share: float, variance: float, least: float, most: float) -> float:
    """How many independent outcomes have a mean of that variance; `least` where the share is 0 or 1."""
    binomial = share * (1 - share)
    return min(binomial / variance, most) if binomial > 0 and variance > 0 else least


def _quantile(degrees: float, level: float) -> float:
    """Student's two-sided quantile; the normal one for infinitely many degrees of freedom."""
    return Z if degrees == math.inf and level == 0.95 else float(stdtrit(min(degrees, 1e9), (1 + level) / 2))
