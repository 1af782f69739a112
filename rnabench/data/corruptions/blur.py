"""Blur: out of focus, behind frosted glass, of a moving camera, of one that moves towards what it sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve, gaussian_filter

from rnabench.data.corrupt import Numbers
from rnabench.data.corruptions.resampling import gathered, grid, smeared, zoomed
from rnabench.settings.corruptions import corruption

Images = NDArray[np.float64]


@corruption("defocus-blur", (0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))
def defocus_blur(images: Images, disk: tuple[float, float], numbers: Numbers) -> Images:
    """The mean over a disk of a radius in pixels, whose edge a normal distribution of a deviation softens."""
    radius, softness = disk
    reach = np.arange(-3, 4)
    inside = (reach[:, None] ** 2 + reach**2 <= radius**2).astype(float)
    soft = gaussian_filter(inside, softness, mode="constant", radius=1)  # radius: of the filter's 3x3 window
    blurred: Images = convolve(images, (soft / soft.sum())[None, None], mode="mirror")
    return blurred


@corruption("glass-blur", (0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))
def glass_blur(images: Images, glass: tuple[float, int, int], numbers: Numbers) -> Images:
    """Every pixel becomes one near by, so many times, between two Gaussian blurs. These hide some of it: the
    distance to the clean image rises with the times, and falls with the blur."""
    deviation, distance, rounds = glass
    across_pixels = (0, 0, deviation, deviation)
    rows, columns = grid(images)
    images = gaussian_filter(images, across_pixels, mode="nearest")
    for _ in range(rounds):
        moves = np.floor(numbers.between(-distance, distance, 2, *images.shape[2:])).astype(np.int64)
        images = gathered(images, rows + moves[:, 0], columns + moves[:, 1])
    blurred: Images = gaussian_filter(images, across_pixels, mode="nearest")
    return blurred


@corruption("motion-blur", (6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5))
def motion_blur(images: Images, line: tuple[int, float], numbers: Numbers) -> Images:
    """Smeared along a line within 45 degrees of the rows, of a radius and a deviation in pixels."""
    return smeared(images, *line, numbers.between(-45, 45))


@corruption("zoom-blur", 1.06, 1.11, 1.15, 1.20, 1.25)
def zoom_blur(images: Images, last: float, numbers: Numbers) -> Images:
    """The mean of the image and its enlargements, from 1 in steps of 0.01 to the last."""
    factors = 1 + np.arange(round((last - 1) * 100) + 1) / 100
    return sum((zoomed(images, factor) for factor in factors), images) / (len(factors) + 1)
