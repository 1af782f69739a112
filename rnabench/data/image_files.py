"""Image files in class folders: listed, and decoded to RGB. Whatever is wrong with one is told in a line that names it.

Only decoders of the listed kinds are tried, whatever bytes a file holds: others call programs (Ghostscript, of EPS).
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from rnabench.errors import DataUnavailable
from rnabench.settings.datasets import Split

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm")
DECODERS = ("PNG", "JPEG", "BMP", "WEBP", "PPM")


def list_images(data_dir: Path, split: Split) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    """The class names, sorted, and every (file, class number), sorted by class and file name. Raises DataUnavailable
    also for a class without images: were it left out, those behind it would have other numbers than in training."""
    root = data_dir / split
    if not root.is_dir():
        raise DataUnavailable(f"data-dir: {str(data_dir)!r} has no folder {split!r}; expected {split}/<class>/<image>")
    try:
        classes = tuple(sorted(entry.name for entry in os.scandir(root) if entry.is_dir()))
        of_class = [images_in(root / name) for name in classes]
    except OSError as error:
        raise DataUnavailable(f"data-dir: {str(error.filename)!r} cannot be read ({error.strerror})") from None
    if not any(of_class):
        raise DataUnavailable(f"data-dir: {str(root)!r} has no images; expected {split}/<class>/<image> "
                              f"ending in {', '.join(SUFFIXES)}")
    for name, files in zip(classes, of_class, strict=True):
        if not files:
            raise DataUnavailable(f"data-dir: {str(root / name)!r} has no images; expected some in every class folder")
        if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", name):  # records and tables could not hold it
            raise DataUnavailable(f"data-dir: {str(root / name)!r} is no name of a class; expected UTF-8 without "
                                  "control characters")
    return classes, [(file, number) for number, files in enumerate(of_class) for file in files]


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, sorted by name. Raises DataUnavailable, and OSError for what is no folder."""
    entries = sorted((entry for entry in os.scandir(folder) if entry.name.lower().endswith(SUFFIXES)),
                     key=lambda entry: entry.name)
    for entry in entries:
        if not entry.is_file():  # a pipe would be waited for
            raise DataUnavailable(f"data-dir: {entry.path!r} is a folder, a pipe or a link to nothing; expected an "
                                  "image file")
    return [folder / entry.name for entry in entries]


@contextmanager
def opened_image(file: Path) -> Iterator[Image.Image]:
    """An image file whose size and mode are known; its pixels are decoded when they are first asked for, in the block.

    Raises DataUnavailable for whatever a decoder says there, also of more pixels than Pillow decodes
    (`Image.MAX_IMAGE_PIXELS`, twice).
    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=DECODERS) as image:
            yield image
    except DataUnavailable:
        raise
    except Exception as error:  # on bad bytes decoders raise errors of any kind: OSError, SyntaxError, ValueError, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataUnavailable(f"data-dir: {str(file)!r} cannot be read as an image ({reason})") from error


def rgb(image: Image.Image) -> Image.Image:
    """An opened image in 8 bits of red, green and blue; what is transparent has the colour that it has underneath.

    Of 16 bits of grey the upper 8 are kept, as Pillow keeps them of 16-bit colours; its `convert` would make all of
    them white but the 256 darkest. Raises ValueError for numbers without a known range.
    """
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("its pixels are fractions without a range")
    return image.convert("RGB")


def open_image(file: Path) -> Image.Image:
    """An image file, decoded to RGB. Raises DataUnavailable."""
    with opened_image(file) as image:
        return rgb(image)
