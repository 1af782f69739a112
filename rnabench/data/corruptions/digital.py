"""What happens to images in computers: contrast, elastic transforms, pixels, JPEG."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from rnabench.data.corrupt import Numbers
from rnabench.data.corruptions.resampling import grid, sampled
from rnabench.settings.corruptions import corruption

Images = NDArray[np.float64]


@corruption("contrast", 0.75, 0.5, 0.4, 0.3, 0.15)
def contrast(images: Images, share: float, numbers: Numbers) -> Images:
    """A share is left of every value's distance from its channel's mean."""
    mean = images.mean((2, 3), keepdims=True)
    less: Images = mean + share * (images - mean)
    return less


@corruption("elastic-transform", (0.0, 0.0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05),
            (0.1, 0.03, 0.03))
def elastic_transform(images: Images, transform: tuple[float, float, float], numbers: Numbers) -> Images:
    """A random affine map, and a random displacement of every pixel that is alike near by. The milder ones have the
    larger affine part, so that the distance to the clean image does not rise with the severity."""
    side = min(images.shape[2:])
    height, smoothness, affine = (side * part for part in transform)
    corners, local = numbers.between(-affine, affine, 3, 2), displacements(images, height, smoothness, numbers)
    rows, columns = grid(images)
    down, across = rows + local[:, 0], columns + local[:, 1]
    # of the affine map it is said where it takes three points: solved for what it adds to a place (row, column, 1)
    middle, arm = side // 2, side // 3
    points = middle + arm * np.array([[1, 1], [-1, 1], [-1, -1]])
    added = np.linalg.solve(np.column_stack([points, np.ones(3)]), corners)[:, :, :, None, None]  # [N, 3, 2, 1, 1]
    moved = added[:, 0] * down[:, None] + added[:, 1] * across[:, None] + added[:, 2]
    return sampled(images, down + moved[:, 0], across + moved[:, 1])


def displacements(images: Images, height: float, smoothness: float, numbers: Numbers) -> Images:
    """By how many rows and columns each pixel is displaced, [N, 2, H, W]: uniform numbers up to `height`, blurred."""
    free = numbers.between(-1, 1, 2, *images.shape[2:])
    smooth: Images = gaussian_filter(free, (0, 0, smoothness, smoothness), mode="reflect", truncate=3)
    return height * smooth


@corruption("pixelate", 0.95, 0.9, 0.85, 0.75, 0.65)
def pixelate(images: Images, share: float, numbers: Numbers) -> Images:
    """Fewer pixels, a share of each side's, shown at the old size."""
    height, width = images.shape[2:]
    few, size = (int(width * share), int(height * share)), (width, height)
    return _one_by_one(images, lambda image: image.resize(few, Image.Resampling.BOX).resize(
        size, Image.Resampling.BOX))


@corruption("jpeg-compression", 80, 65, 58, 50, 40)
def jpeg_compression(images: Images, quality: int, numbers: Numbers) -> Images:
    """Written as a JPEG file of a quality, and read."""
    def read_back(image: Image.Image) -> Image.Image:
        file = BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)
    return _one_by_one(images, read_back)


def _one_by_one(images: Images, change: Callable[[Image.Image], Image.Image]) -> Images:
    """What Pillow makes of the images, which it takes in 8 bits."""
    pixels = np.rint(images * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    changed = np.stack([np.asarray(change(Image.fromarray(image))) for image in pixels])
    return changed.transpose(0, 3, 1, 2) / 255
