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

from rnabench.data.image_files import list_images, opened_image, rgb
from rnabench.data.images import ImageSet
from rnabench.errors import DataUnavailable
from rnabench.runtime.files import atomic, sha256
from rnabench.settings.datasets import DATASETS, Dataset, DataSettings, Split

LARGEST_SIDE = 128  # pixels; folders of larger images stream (see rnabench.data.streaming)
DECODING = 2  # counted up when the same files are decoded to other pixels than before, so that no old cache is read


@DATASETS.register("folder")
class Folder(Dataset):
    """Any small images, all of one size, in train/<class>/* and test/<class>/*; --dataset-name names them."""

    @classmethod
    def load(cls, split: Split, keys: DataSettings) -> ImageSet:
        """The index of an image is its place in `list_images`, except that files named by a number alone
        (`0017.png`) are indexed, and ordered, by that number if it is unique and fits into 63 bits."""
        classes, files = list_images(keys.folder, split)
        stems = [file.stem for file, _ in files]
        numbers = {int(stem) for stem in stems if stem.isdecimal()}
        if len(numbers) == len(stems) and max(numbers) < 2**63:
            files.sort(key=lambda item: int(item[0].stem))
            indices = np.array([int(file.stem) for file, _ in files], dtype=np.int64)
        else:
            indices = np.arange(len(files), dtype=np.int64)
        return ImageSet(classes, _cached(files), np.array([label for _, label in files], dtype=np.int64), indices)


def cache_folder() -> Path | None:
    """Where decoded folders are kept: $RNABENCH_CACHE, or rnabench in the user's cache folder; None for a user who has
    no home folder."""
    if named := os.environ.get("RNABENCH_CACHE"):
        return Path(named)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rnabench"
    except RuntimeError:
        return None


def _cached(files: list[tuple[Path, int]]) -> NDArray[np.uint8]:
    contents, folder = _contents(files), cache_folder()
    if folder is None:
        return _decode(files)
    kept = folder / f"{contents}.npy"
    digest = kept.with_suffix(".sha256")
    try:
        if digest.read_text() == sha256(kept):
            stored: NDArray[np.uint8] = np.lib.format.open_memmap(kept, mode="r")  # unlike np.load, of arrays alone
            if stored.dtype == np.uint8 and stored.ndim == 4 and stored.shape[::3] == (len(files), 3):
                return stored
    except Exception:  # missing, or damaged in whatever way: made anew
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
    contents = hashlib.sha256(f"{DECODING}\n".encode())
    for file, _ in files:
        try:
            image = file.read_bytes()
        except OSError as error:
            raise DataUnavailable(f"data-dir: {str(file)!r} cannot be read ({error.strerror})") from None
        contents.update(os.fsencode(f"{file.parent.name}/{file.name}:{len(image)}\n"))  # names may be no UTF-8
        contents.update(image)
    return contents.hexdigest()[:32]


def _decode(files: list[tuple[Path, int]]) -> NDArray[np.uint8]:
    first = files[0][0]
    with opened_image(first) as image:
        width, height = image.size
    if max(width, height) > LARGEST_SIDE:
        raise DataUnavailable(f"data-dir: {str(first)!r} is {width}x{height} pixels; expected at most {LARGEST_SIDE} "
                              "for dataset 'folder'; use --dataset imagenet for larger ones")
    images = np.empty((len(files), height, width, 3), dtype=np.uint8)
    for position, (file, _) in enumerate(files):
        with opened_image(file) as image:
            if image.size != (width, height):  # before it is decoded, which takes long if it is large
                raise DataUnavailable(f"data-dir: {str(file)!r} is {image.width}x{image.height} pixels; expected "
                                      f"{width}x{height} as in {str(first)!r}")
            images[position] = np.asarray(rgb(image))
    return images
