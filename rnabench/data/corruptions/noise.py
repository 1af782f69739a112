"""Noise: Gaussian, shot and impulse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import pdtr

from rnabench.data.corrupt import Numbers
from rnabench.settings.corruptions import corruption

Images = NDArray[np.float64]


@corruption("gaussian-noise", 0.04, 0.06, 0.08, 0.09, 0.10)
def gaussian_noise(images: Images, deviation: float, numbers: Numbers) -> Images:
    """Normal noise of a standard deviation, in pixel units, on every value."""
    return images + deviation * numbers.normal(*images.shape[1:])


@corruption("shot-noise", 500, 250, 100, 75, 50)
def shot_noise(images: Images, photons: int, numbers: Numbers) -> Images:
    """A Poisson number of photons in place of every value, of which white has so many on average."""
    bits = np.rint(255 * images).astype(np.int64)
    means = photons * np.arange(256) / 255
    most = photons + int(10 * photons**0.5) + 1  # more photons come less often than a uniform number can say
    # Poisson by the inverse of its distribution function, of which every grey level has one: level 7's lies in 7 to 8
    rising = pdtr(np.arange(most), means[:, None]) + np.arange(256)[:, None]
    counted = np.searchsorted(rising.ravel(), bits + numbers.uniform(*images.shape[1:])) - most * bits
    return counted / photons


@corruption("impulse-noise", 0.01, 0.02, 0.03, 0.05, 0.07)
def impulse_noise(images: Images, share: float, numbers: Numbers) -> Images:
    """A share of all values becomes 0 or 1."""
    hit, white = numbers.uniform(*images.shape[1:]) < share, numbers.uniform(*images.shape[1:]) < 0.5
    return np.where(hit, white, images)
