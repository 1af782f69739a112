"""Images looked up at other places: what several corruptions share. All take images float64 [N, C, H, W]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float64]
Places = NDArray[np.int64]


def gathered(images: Images, rows: Places, columns: Places) -> Images:
    """The pixels at whole places [N, H, W] of their own image; beyond an edge, those of the edge."""
    height, width = images.shape[2:]
    each = np.arange(len(images))[:, None, None]
    # between two index arrays a slice puts the channels last
    found: Images = images[each, :, rows.clip(0, height - 1), columns.clip(0, width - 1)]
    return found.transpose(0, 3, 1, 2)


def grid(images: Images) -> tuple[Places, Places]:
    """The row [1, H, 1] and the column [1, 1, W] of every pixel."""
    height, width = images.shape[2:]
    return np.arange(height)[None, :, None], np.arange(width)[None, None, :]


def sampled(images: Images, rows: Images, columns: Images) -> Images:
    """The pixels at places [N, H, W] between pixels, bilinearly; beyond an edge the image is mirrored."""
    rows, columns = (_mirrored(places, size) for places, size in zip((rows, columns), images.shape[2:], strict=True))
    top, left = np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
    down, across = (rows - top)[:, None], (columns - left)[:, None]
    above = (1 - across) * gathered(images, top, left) + across * gathered(images, top, left + 1)
    below = (1 - across) * gathered(images, top + 1, left) + across * gathered(images, top + 1, left + 1)
    mixed: Images = (1 - down) * above + down * below
    return mixed


def _mirrored(places: Images, size: int) -> Images:
    """Places in 0..size-1: -1 is 1, and size is size - 2."""
    period = 2 * (size - 1)
    folded: Images = places % period
    return np.minimum(folded, period - folded)


def zoomed(images: Images, factor: float) -> Images:
    """The middle, enlarged by a factor of at least 1 to the size of the image, bilinearly."""
    for axis in (2, 3):
        size = images.shape[axis]
        places = (np.arange(size) - (size - 1) / 2) / factor + (size - 1) / 2
        before = np.floor(places).astype(np.int64).clip(0, size - 1)
        shares = (places - before).reshape((-1, 1) if axis == 2 else -1)
        images = ((1 - shares) * images.take(before, axis)
                  + shares * images.take(np.minimum(before + 1, size - 1), axis))
    return images


def smeared(images: Images, radius: int, deviation: float, angles: NDArray[np.float64]) -> Images:
    """Moved along a line at an angle [N] of its own, in degrees from the rows: the mean over the pixels ahead, up to
    two radii away, which weigh as a normal distribution does (ImageMagick's motion blur)."""
    ahead = np.arange(2 * radius + 1)
    weights = np.exp(-(ahead**2) / (2 * deviation**2))
    rows, columns = grid(images)
    turned = np.deg2rad(angles)[:, None, None]
    total = np.zeros_like(images)
    for distance, weight in zip(ahead, weights / weights.sum(), strict=True):
        down, across = (np.rint(distance * part).astype(np.int64) for part in (np.sin(turned), np.cos(turned)))
        total += weight * gathered(images, rows + down, columns + across)
    return total
