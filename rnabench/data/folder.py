"""Class folders of small images, decoded once and reopened as one array.

A decoded folder is kept under the hash of its files' names and contents, with the hash of the array beside it. Both are
checked at every opening: sizes and times may say nothing of an image that was replaced or an array that was damaged. To
read 10,000 files takes about 0.4 s, to decode them ten times that.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from rnabench.data.images import ImageSet
from rnabench.errors import DataUnavailable
from rnabench.runtime.files import atomic, sha256
from rnabench.settings.datasets import DATASETS, Dataset, DataSettings, Split

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm")
LARGEST_SIDE = 128  # pixels; folders of larger images stream (see rnabench.data.streaming)


def list_images(data_dir: Path, split: Split) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    """The class names, sorted, and every (file, class number), sorted by class and file name."""
    root = data_dir / split
    if not root.is_dir():
        raise DataUnavailable(f"data-dir: {str(data_dir)!r} has no folder {split!r}; expected {split}/<class>/<image>")
    classes = tuple(sorted(entry.name for entry in os.scandir(root) if entry.is_dir()))
    files = [
        (root / name / file, number)
        for number, name in enumerate(classes)
        for file in sorted(os.listdir(root / name))
        if file.lower().endswith(SUFFIXES)
    ]
    if not files:
        raise DataUnavailable(f"data-dir: {str(root)!r} has no images; expected {split}/<class>/<image> "
                              f"ending in {', '.join(SUFFIXES)}")
    return classes, files


@DATASETS.register("folder")
class Folder(Dataset):
    """Any small images, all of one size, in train/<class>/* and test/<class>/*; --dataset-name names them."""

    @classmethod
    def load(cls, split: Split, keys: DataSettings) -> ImageSet:
        """The index of an image is its place in `list_images`, except that files named by a number alone
        (`0017.png`) are indexed, and ordered, by that number if it is unique."""
        classes, files = list_images(keys.folder, split)
        stems = [file.stem for file, _ in files]
        if all(stem.isdecimal() for stem in stems) and len({int(stem) for stem in stems}) == len(stems):
            files.sort(key=lambda item: int(item[0].stem))
            indices = np.array([int(file.stem) for file, _ in files], dtype=np.int64)
        else:
            indices = np.arange(len(files), dtype=np.int64)
        return ImageSet(classes, _cached(files), np.array([label for _, label in files], dtype=np.int64), indices)


def cache_folder() -> Path:
    """Where decoded folders are kept: $RNABENCH_CACHE, or rnabench in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("RNABENCH_CACHE") or Path(base) / "rnabench")


def _cached(files: list[tuple[Path, int]]) -> NDArray[np.uint8]:
    kept = cache_folder() / f"{_contents(files)}.npy"
    digest = kept.with_suffix(".sha256")
    try:
        if digest.read_text() == sha256(kept):
            stored: NDArray[np.uint8] = np.load(kept, mmap_mode="r", allow_pickle=False)
            return stored
    except (OSError, ValueError):
        pass
    images = _decode(files)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with atomic(kept) as temporary, temporary.open("wb") as handle:
            np.save(handle, images)
        with atomic(digest) as temporary:
            temporary.write_text(sha256(kept))
    except OSError:
        pass  # a cache that cannot be written only costs time
    return images


def _contents(files: list[tuple[Path, int]]) -> str:
    """A hash of the files' names, classes, order and bytes. Raises DataUnavailable."""
    contents = hashlib.sha256()
    for file, _ in files:
        try:
            image = file.read_bytes()
        except OSError as error:
            raise DataUnavailable(f"data-dir: {str(file)!r} cannot be read ({error.strerror})") from None
        contents.update(f"{file.parent.name}/{file.name}:{len(image)}\n".encode())
        contents.update(image)
    return contents.hexdigest()[:32]


def _decode(files: list[tuple[Path, int]]) -> NDArray[np.uint8]:
    first = np.asarray(open_image(files[0][0]))
    if max(first.shape[:2]) > LARGEST_SIDE:
        raise DataUnavailable(f"data-dir: {str(files[0][0])!r} is {first.shape[1]}x{first.shape[0]} pixels; expected "
                              f"at most {LARGEST_SIDE} for dataset 'folder'; use --dataset imagenet for larger ones")
    images = np.empty((len(files), *first.shape), dtype=np.uint8)
    for position, (file, _) in enumerate(files):
        image = np.asarray(open_image(file))
        if image.shape != first.shape:
            raise DataUnavailable(f"data-dir: {str(file)!r} is {image.shape[1]}x{image.shape[0]} pixels; expected "
                                  f"{first.shape[1]}x{first.shape[0]} as in {str(files[0][0])!r}")
        images[position] = image
    return images


def open_image(file: Path) -> Image.Image:
    """An image file, decoded to RGB. Raises DataUnavailable."""
    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise DataUnavailable(f"data-dir: {str(file)!r} cannot be read as an image ({error})") from error
