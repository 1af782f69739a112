"""Kept images are bit by bit what was attacked, however the evaluation was stopped, and whatever is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from rnabench.data.batches import Batch, ResidentSource
from rnabench.errors import RnabenchError
from rnabench.evaluation.kept_images import Collected, KeptImages
from tests.helpers import random_images

CLEAN = next(ResidentSource(random_images(6, size=4), torch.device("cpu")).in_order(6))


def kept(file: Path, found: torch.Tensor, batch: Batch = CLEAN) -> KeptImages:
    collected = Collected()
    collected(batch, found)
    collected.write(file, batch.indices, batch.images.shape[1:])
    return KeptImages(file)


@given(seed=st.integers(0, 10_000), size=st.sampled_from([0.0, 1e-8, 8 / 255, 1.0]), levels=st.integers(0, 63))
def test_what_is_read_is_bit_by_bit_what_was_attacked(
        seed: int, size: float, levels: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever the change, and whichever of the images are multiples of 1/255 (the bits of `levels`)."""
    generator = torch.Generator().manual_seed(seed)
    found = (CLEAN.images + size * (2 * torch.rand(CLEAN.images.shape, generator=generator) - 1)).clamp(0, 1)
    exact = torch.tensor([bool(levels >> row & 1) for row in range(6)])
    found[exact] = torch.randint(0, 256, found[exact].shape, generator=generator).float() / 255
    file = tmp_path_factory.mktemp("kept") / "a.safetensors"
    images = kept(file, found)
    assert torch.equal(images.of(CLEAN).view(torch.int32), found.view(torch.int32))
    order = [5, 0, 3]
    assert torch.equal(images.of(CLEAN.take(order)), found[order])
    assert images.indices.tolist() == CLEAN.indices
    assert images.labels.tolist() == CLEAN.labels.tolist()
    stored = load_file(file)
    assert len(stored["change"]) == int(stored["exact"].sum()) >= int(exact.sum())
    assert stored["change"].dtype == np.uint8
    assert len(stored["change"]) + len(stored["images"]) == 6


def test_what_an_attack_leaves_alone_takes_a_byte_a_number(tmp_path: Path) -> None:
    stored = kept(tmp_path / "a.safetensors", CLEAN.images) and load_file(tmp_path / "a.safetensors")
    assert not stored["change"].any()
    assert not stored["images"].size


def test_images_that_are_attacked_again_count_anew_and_others_are_absent(tmp_path: Path) -> None:
    collected, halves = Collected(), [CLEAN.part(0, 3), CLEAN.part(2, 4)]
    for number, half in enumerate(halves):
        collected(half, half.images * 0 + number / 4)
    collected.write(tmp_path / "a.safetensors", CLEAN.indices, CLEAN.images.shape[1:])
    images = KeptImages(tmp_path / "a.safetensors")
    assert images.has(CLEAN.indices).tolist() == [True] * 4 + [False] * 2
    assert images.of(CLEAN.part(0, 4)).amax((1, 2, 3)).tolist() == [0, 0, 0.25, 0.25]


@pytest.mark.parametrize("fault", [
    {"indices": np.zeros(6, dtype=np.int64)}, {"labels": np.zeros(5, dtype=np.int64)},
    {"exact": np.full(6, 2, dtype=np.uint8)}, {"exact": np.eye(6, dtype=np.uint8)[0]},
    {"images": np.zeros((6, 3, 4, 5), dtype=np.float32)}, {"change": np.zeros((0, 3, 4, 4), dtype=np.float32)},
    {"more": np.zeros(1, dtype=np.float32)}])
def test_tensors_that_do_not_fit_together_are_an_error_of_one_line(fault: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    kept(file, torch.rand(CLEAN.images.shape, generator=torch.Generator().manual_seed(0)))
    KeptImages(file)
    save_file(load_file(file) | fault, file)
    with pytest.raises(RnabenchError, match=r"images: .*a\.safetensors.*damaged") as raised:
        KeptImages(file)
    assert "\n" not in str(raised.value)
