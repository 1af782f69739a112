"""Weather: snow, fog and brightness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rnabench.data.corrupt import Numbers
from rnabench.data.corruptions.resampling import smeared, zoomed
from rnabench.settings.corruptions import corruption

Images = NDArray[np.float64]
LUMA = np.array([0.299, 0.587, 0.114])[:, None, None]  # grey of red, green and blue (ITU-R BT.601)


@corruption("snow", (0.1, 0.2, 1, 0.6, 8, 3, 0.95), (0.1, 0.2, 1, 0.5, 10, 4, 0.9), (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85), (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8))
def snow(images: Images, fall: tuple[float, float, float, float, int, float, float], numbers: Numbers) -> Images:
    """Flakes that fall in streaks, over an image that is paler."""
    mean, deviation, size, least, radius, streak, kept = fall
    flakes = zoomed(mean + deviation * numbers.normal(1, *images.shape[2:]), size)
    flakes = np.where(flakes < least, 0, flakes).clip(0, 1)
    flakes = smeared(flakes, radius, streak, numbers.between(-135, -45))
    grey = (LUMA * images).sum(1, keepdims=True)
    pale = kept * images + (1 - kept) * np.maximum(images, 1.5 * grey + 0.5)
    snowed: Images = pale + flakes + flakes[:, :, ::-1, ::-1]
    return snowed


@corruption("fog", (0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))
def fog(images: Images, density: tuple[float, float], numbers: Numbers) -> Images:
    """A plasma fractal is added, and the image made darker by as much as that could be bright."""
    amount, decay = density
    height, width = images.shape[2:]
    field = plasma(numbers, 1 << (max(height, width) - 1).bit_length(), decay)[:, None, :height, :width]
    brightest = images.max((1, 2, 3), keepdims=True)
    foggy: Images = (images + amount * field) * brightest / (brightest + amount)
    return foggy


def plasma(numbers: Numbers, side: int, decay: float) -> Images:
    """Plasma fractals [N, side, side] from 0 to 1 by the diamond-square algorithm on a torus: halfway between points
    comes their mean and a random number, whose range falls by the square of `decay` at every halving. `side`: a power
    of 2."""
    field = np.zeros((len(numbers), side, side))
    step, swing = side, 1.0

    def between(*four: Images) -> Images:
        total: Images = np.sum(four, axis=0) / 4
        return total + swing * numbers.between(-1, 1, *total.shape[1:])

    while step > 1:
        half = step // 2
        corners = field[:, ::step, ::step]
        right, down = np.roll(corners, -1, 2), np.roll(corners, -1, 1)
        centres = between(corners, right, down, np.roll(down, -1, 2))
        field[:, half::step, half::step] = centres
        field[:, ::step, half::step] = between(corners, right, centres, np.roll(centres, 1, 1))
        field[:, half::step, ::step] = between(corners, down, centres, np.roll(centres, 1, 2))
        step, swing = half, swing / decay**2
    low, high = field.min((1, 2), keepdims=True), field.max((1, 2), keepdims=True)
    scaled: Images = (field - low) / np.maximum(high - low, 1e-12)
    return scaled


@corruption("brightness", 0.05, 0.1, 0.15, 0.2, 0.3)
def brightness(images: Images, more: float, numbers: Numbers) -> Images:
    """The largest of red, green and blue (value in HSV) rises, at most to 1; hue and saturation stay."""
    value = images.max(1, keepdims=True)
    brighter = np.minimum(value + more, 1)
    # black has no colour: it becomes grey
    brightened: Images = np.where(value > 0, images / np.where(value > 0, value, 1), 1) * brighter
    return brightened
