"""Certified radii of randomised smoothing (Cohen et al., ICML 2019), from counts of classes under Gaussian noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri

ABSTAINED = -1
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Certificates:
    """Of N images: the `predicted` class, ABSTAINED where there is none, and the Euclidean `radius`, in pixel units,
    within which the smoothed classifier keeps to it; 0 where it abstains. Each holds with probability 1 - alpha."""

    predicted: NDArray[np.int64]
    radius: NDArray[np.float64]

    def correct_at(self, labels: NDArray[np.int64], radius: float) -> NDArray[np.bool_]:
        """Which images are certified to be right within that radius, [N]; at radius 0: are predicted right."""
        return np.asarray((self.predicted == labels) & (self.radius >= radius))


def lower_bound(hits: Counts, draws: int, alpha: float) -> NDArray[np.float64]:
    """The one-sided lower bound of Clopper and Pearson (1934), which holds with probability at least 1 - alpha, of the
    probability behind each number of `hits` in so many independent draws."""
    return np.where(hits > 0, betaincinv(np.maximum(hits, 1), draws - hits + 1, alpha), 0.0)


def certify(first: Counts, counts: Counts, sigma: float, alpha: float) -> Certificates:
    """Algorithm CERTIFY of the paper, for each image: the class most frequent in the `first` counts [N, classes] (of
    equals, the lowest) is the guess, and its share of other draws, `counts` [N, classes], has a lower bound p. The
    radius is sigma Phi^-1(p) (eq. 3 with 1 - p for the runner-up); where p is not above 1/2 it abstains."""
    guess = first.argmax(1)
    draws = int(counts[0].sum())
    hits = np.take_along_axis(counts, guess[:, None], 1)[:, 0]
    least = lower_bound(hits, draws, alpha)
    certain = least > 0.5
    radius = np.where(certain, sigma * ndtri(np.maximum(least, 0.5)), 0.0)
    return Certificates(np.where(certain, guess, ABSTAINED), radius)


def largest_radius(draws: int, sigma: float, alpha: float) -> float:
    """The radius of an image of which all draws agree: no other has a larger one."""
    return float(sigma * ndtri(max(alpha ** (1 / draws), 0.5)))
