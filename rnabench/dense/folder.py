"""Folders of images with what is to be seen in them: `images/`, and `masks/` or `boxes.json`, or both.

Every image has a mask of its name (`images/a.jpg`, `masks/a.png`): a grey or palette PNG of the image's size, whose
values are class numbers, 0 the background, 255 what does not count. `boxes.json` is COCO's format of instances: lists
`images` (id, file_name) and `annotations` (image_id, category_id, bbox as [x, y, width, height] in pixels).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnabench.data.image_files import images_in, open_image, opened_image
from rnabench.errors import DataUnavailable
from rnabench.settings.documents import Bounds, Unreadable, read_json

IGNORE = 255
IMAGES, MASKS, BOXES = "images", "masks", "boxes.json"
OF_COCO = Bounds(512 << 20, 200_000_000)  # its training images have 450 MB of instances


@dataclass(frozen=True)
class Example:
    """An image [3, H, W] in [0, 1]; its mask int64 [H, W], if masks were asked for; and its boxes [B, 4] (x1, y1, x2,
    y2 in pixels) with class numbers int64 [B], none if they were not. `index`: its place in the folder, by name."""

    name: str
    index: int
    image: Tensor
    mask: Tensor | None
    boxes: Tensor
    labels: Tensor


class DenseFolder:
    """The first `count` (None: all) images of a folder by name, all of them checked; `needed` names which of masks and
    boxes are there to be read. Raises DataUnavailable."""

    def __init__(self, folder: Path, needed: Collection[str], classes: int, count: int | None = None) -> None:
        self.folder, self.needed, self.classes = folder, needed, classes
        self.files = _files(folder / IMAGES)[:count]
        self._boxes = _read_boxes(folder / BOXES, self.files, classes) if BOXES in needed else {}
        contents = hashlib.sha256()
        for file in self.files:
            contents.update(os.fsencode(file.name) + file.read_bytes())
            if MASKS in needed:
                contents.update(_read_mask(self._mask_of(file), file, classes).tobytes())
            contents.update(repr(self._boxes.get(file.name)).encode())
        self.fingerprint = contents.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.files)

    def example(self, index: int, device: torch.device) -> Example:
        file = self.files[index]
        image = torch.from_numpy(np.array(open_image(file))).permute(2, 0, 1).to(device).float() / 255
        mask = None
        if MASKS in self.needed:
            mask = torch.from_numpy(_read_mask(self._mask_of(file), file, self.classes)).to(device).long()
        listed = self._boxes.get(file.name, [])
        boxes = torch.tensor([box for box, _ in listed], device=device).view(-1, 4)
        labels = torch.tensor([number for _, number in listed], device=device, dtype=torch.int64)
        return Example(file.name, index, image.contiguous(), mask, boxes, labels)

    def _mask_of(self, file: Path) -> Path:
        return self.folder / MASKS / f"{file.stem}.png"


def _files(folder: Path) -> list[Path]:
    files = images_in(folder) if folder.is_dir() else []
    if not files:
        raise DataUnavailable(f"data-dir: {str(folder)!r} has no images; expected a folder with {IMAGES}/, and "
                              f"{MASKS}/ or {BOXES} beside it")
    return files


def _read_mask(mask: Path, file: Path, classes: int) -> NDArray[np.uint8]:
    if not mask.is_file():
        raise DataUnavailable(f"data-dir: {str(mask)!r} is missing; expected a mask for every image in {IMAGES}/")
    with opened_image(file) as image:
        size = image.size
    with opened_image(mask) as opened:
        if opened.mode not in ("L", "P"):
            raise DataUnavailable(f"data-dir: {str(mask)!r} has colours of kind {opened.mode}; expected a grey or "
                                  "palette PNG of class numbers")
        if opened.size != size:
            sizes = [f"{width}x{height}" for width, height in (opened.size, size)]
            raise DataUnavailable(f"data-dir: {str(mask)!r} is {sizes[0]} pixels; expected {sizes[1]}, the size of its "
                                  "image")
        numbers = np.array(opened)
    if wrong := sorted({int(number) for number in np.unique(numbers)} - set(range(classes)) - {IGNORE}):
        raise DataUnavailable(f"data-dir: {str(mask)!r} has class {wrong[0]}; expected 0 to {classes - 1} (--classes "
                              f"{classes}), or {IGNORE} for what does not count")
    return numbers


Listed = list[tuple[list[float], int]]
"""Boxes and class numbers of an image."""


def _read_boxes(file: Path, images: list[Path], classes: int) -> dict[str, Listed]:
    """By the image's file name; crowds are left out."""
    if not file.is_file():
        raise DataUnavailable(f"data-dir: {str(file)!r} is missing; expected COCO's instances: images and annotations")
    try:
        content = read_json(file, OF_COCO)
        names = {entry["id"]: Path(entry["file_name"]).name for entry in content["images"]}
        boxes: dict[str, Listed] = {name: [] for name in names.values()}
        for entry in content["annotations"]:
            if not entry.get("iscrowd"):
                boxes[names[entry["image_id"]]].append((_corners(entry), int(entry["category_id"])))
    except (Unreadable, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DataUnavailable(f"data-dir: {str(file)!r} is not COCO's format of instances ({type(error).__name__}: "
                              f"{error}); expected images (id, file_name) and annotations (image_id, category_id, bbox)"
                              ) from None
    for image in images:
        if image.name not in boxes:
            raise DataUnavailable(f"data-dir: {str(file)!r} has no entry for {image.name!r}; expected one for every "
                                  f"image in {IMAGES}/, also for one without boxes")
        _check_boxes(boxes[image.name], image, classes)
    return {image.name: boxes[image.name] for image in images}


def _corners(entry: Mapping[str, Any]) -> list[float]:
    left, top, width, height = map(float, entry["bbox"])
    return [left, top, left + width, top + height]


def _check_boxes(listed: Listed, image: Path, classes: int) -> None:
    with opened_image(image) as opened:
        width, height = opened.size
    for (left, top, right, bottom), number in listed:
        # written coordinates are rounded: a box may reach a pixel over the edge
        if not (-1 <= left < right <= width + 1 and -1 <= top < bottom <= height + 1):
            raise DataUnavailable(f"data-dir: a box of {image.name!r} is {[left, top, right, bottom]}; expected "
                                  f"corners within its {width}x{height} pixels")
        if not 0 < number < classes:
            raise DataUnavailable(f"data-dir: a box of {image.name!r} has class {number}; expected 1 to {classes - 1} "
                                  f"(--classes {classes})")
