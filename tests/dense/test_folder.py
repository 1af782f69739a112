"""Folders with masks and boxes: what is written is read, and what is wrong is said in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rnabench.dense.folder import BOXES, MASKS, DenseFolder
from rnabench.errors import DataUnavailable
from tests.dense.subjects import CLASSES, write_boxes, write_folder

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data")


def test_what_is_written_is_read(folder: Path) -> None:
    read = DenseFolder(folder, {MASKS, BOXES}, CLASSES)
    assert len(read) == 3
    example = read.example(1, CPU)
    assert example.mask is not None
    assert example.image.shape == (3, 32, 32)
    torch.testing.assert_close(example.image[:, 8:24, 4:20], torch.full((3, 16, 16), 180 / 255))
    assert set(example.mask[0].tolist()) == {255}
    assert set(example.mask[8:24, 4:20].flatten().tolist()) == {2}
    assert example.boxes.tolist() == [[4, 8, 20, 24]]
    assert example.labels.tolist() == [2]


def test_a_palette_png_is_read_by_its_indices(folder: Path) -> None:
    mask = Image.open(folder / "masks" / "0.png").convert("P")
    mask.putdata(np.asarray(Image.open(folder / "masks" / "0.png")).flatten().tolist())
    mask.putpalette([5, 90, 200] * 256)
    before = DenseFolder(folder, {MASKS}, CLASSES).example(0, CPU)
    mask.save(folder / "masks" / "0.png")
    after = DenseFolder(folder, {MASKS}, CLASSES).example(0, CPU)
    assert before.mask is not None
    assert after.mask is not None
    assert torch.equal(before.mask, after.mask)


def test_only_what_is_needed_has_to_be_there(folder: Path) -> None:
    (folder / "boxes.json").unlink()
    assert not len(DenseFolder(folder, {MASKS}, CLASSES).example(0, CPU).labels)
    write_folder(folder / "other")
    for mask in (folder / "other" / "masks").iterdir():
        mask.unlink()
    assert DenseFolder(folder / "other", {BOXES}, CLASSES).example(0, CPU).mask is None


def test_a_crowd_is_left_out_and_an_image_may_be_without_boxes(folder: Path) -> None:
    content = json.loads((folder / "boxes.json").read_text())
    content["annotations"][0]["iscrowd"] = 1
    write_boxes(folder, content)
    assert DenseFolder(folder, {BOXES}, CLASSES).example(0, CPU).boxes.shape == (0, 4)


def test_the_fingerprint_knows_every_pixel_and_box(folder: Path) -> None:
    prints = {DenseFolder(folder, needed, CLASSES).fingerprint for needed in ({MASKS, BOXES}, {MASKS})}
    mask = np.array(Image.open(folder / "masks" / "2.png"))
    mask[5, 5] = 1
    Image.fromarray(mask).save(folder / "masks" / "2.png")
    prints |= {DenseFolder(folder, {MASKS, BOXES}, CLASSES).fingerprint}
    content = json.loads((folder / "boxes.json").read_text())
    content["annotations"][0]["bbox"][0] += 1
    write_boxes(folder, content)
    prints |= {DenseFolder(folder, {MASKS, BOXES}, CLASSES).fingerprint}
    assert len(prints) == 4


def no_images(folder: Path) -> None:
    for file in (folder / "images").iterdir():
        file.unlink()


def mask_missing(folder: Path) -> None:
    (folder / "masks" / "1.png").unlink()


def mask_of_another_size(folder: Path) -> None:
    Image.new("L", (32, 31)).save(folder / "masks" / "1.png")


def mask_in_colours(folder: Path) -> None:
    Image.new("RGB", (32, 32)).save(folder / "masks" / "1.png")


def mask_with_another_class(folder: Path) -> None:
    Image.new("L", (32, 32), CLASSES).save(folder / "masks" / "1.png")


def mask_damaged(folder: Path) -> None:
    (folder / "masks" / "1.png").write_bytes(b"\x89PNG")


def image_damaged(folder: Path) -> None:
    (folder / "images" / "1.png").write_bytes(b"\x89PNG")


def boxes_missing(folder: Path) -> None:
    (folder / "boxes.json").unlink()


def boxes_of_another_format(folder: Path) -> None:
    write_boxes(folder, {"images": [], "boxes": []})


def boxes_of_other_images(folder: Path) -> None:
    write_boxes(folder, {"images": [{"id": 0, "file_name": "0.png"}], "annotations": []})


def box_with(**values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / "boxes.json").read_text())
        content["annotations"][1] |= values
        write_boxes(folder, content)

    return change


@pytest.mark.parametrize(("damage", "said"), [
    (no_images, "has no images"), (mask_missing, "1.png' is missing"), (mask_in_colours, "colours of kind RGB"),
    (mask_of_another_size, "is 32x31 pixels; expected 32x32"),
    (mask_with_another_class, "has class 4; expected 0 to 3"),
    (mask_damaged, "cannot be read"), (image_damaged, "cannot be read"), (boxes_missing, "boxes.json' is missing"),
    (boxes_of_another_format, "not COCO's format"), (boxes_of_other_images, "no entry for '1.png'"),
    (box_with(bbox=[4, 8, 60, 16]), "expected corners within its 32x32 pixels"),
    (box_with(bbox=[4, 8, 0, 16]), "expected corners"), (box_with(bbox=[4, 8]), "not COCO's format"),
    (box_with(category_id=0), "has class 0; expected 1 to 3"), (box_with(category_id=9), "has class 9"),
    (box_with(image_id=77), "not COCO's format"),
])
def test_what_is_wrong_is_one_line(folder: Path, damage: Callable[[Path], None], said: str) -> None:
    damage(folder)
    with pytest.raises(DataUnavailable) as caught:
        DenseFolder(folder, {MASKS, BOXES}, CLASSES)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
