"""Adversarial images in files: bit by bit what was attacked, from which a reviewer scores anew.

A file has, for the images of a cell in the order in which they were attacked,

    indices, labels   int64 [N]
    exact             uint8 [N]: 1 where every pixel is a multiple of 1/255
    change            uint8 [A, 3, H, W]: of the exact ones, level - clean level modulo 256, in 255ths
    images            float32 [N - A, 3, H, W]: all others, in [0, 1]

A float32 difference would lose bits (clean + difference is not always the image), so what is not exact is kept whole.
What an attack leaves alone, as AutoAttack does where it fails, is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import Tensor

from rnabench.attack.resumable import remember
from rnabench.data.batches import Batch
from rnabench.errors import RnabenchError
from rnabench.evaluation.cells import Cell
from rnabench.runtime.files import write_bytes
from rnabench.runtime.journal import Journal
from rnabench.runtime.tensor_files import opened
from rnabench.settings.evaluation import EvaluationSettings

KINDS = {"indices": "I64", "labels": "I64", "exact": "U8", "change": "U8", "images": "F32"}
PIECE = ".{:06}.safetensors"  # a batch, beside the journal of its cell
WHAT = "images"  # as error lines call these files


def keeps_images(cell: Cell, keys: EvaluationSettings) -> bool:
    """Whether the images of a cell are kept: those of the table's attacks."""
    return keys.keep_images and cell.attack is not None and not cell.probe


def pieces(journal: Journal, key: tuple[str, ...], count: int) -> Iterator[Path]:
    """The files of so many batches of a cell; none of a journal in memory."""
    for number in range(count):
        if (file := journal.beside(key, PIECE.format(number))) is not None:
            yield file


class Collected:
    """The images that are attacked of one batch. Those that are attacked again, as memory ran out, count anew."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Any]] = {}  # by index: label, clean image, adversarial one
        remember(self, "rows")

    def __call__(self, batch: Batch, adversarial: Tensor) -> None:
        """Take the adversarial images of (a part of) the batch."""
        labels, clean, found = (each.detach().cpu() for each in (batch.labels, batch.images, adversarial))
        for row, index in enumerate(batch.indices):
            self.rows[str(index)] = [int(labels[row]), clean[row], found[row]]

    def write(self, file: Path, indices: Sequence[int], shape: Sequence[int]) -> None:
        """Write what there is of the images with these `indices`, in that order; `shape` is that of an image."""
        kept = [index for index in indices if str(index) in self.rows]
        labels = np.array([self.rows[str(index)][0] for index in kept], dtype=np.int64)
        exact, changes, images = [], [], []
        for _, clean, found in (self.rows[str(index)] for index in kept):
            levels = _levels(found)
            exact.append(bool(torch.equal(_pixels(levels), found)))
            if exact[-1]:
                changes.append((levels - _levels(clean)).numpy())  # of uint8, modulo 256
            else:
                images.append(found.numpy())
        write_bytes(file, save({"indices": np.array(kept, dtype=np.int64), "labels": labels,
                                "exact": np.array(exact, dtype=np.uint8),
                                "change": np.array(changes, dtype=np.uint8).reshape(-1, *shape),
                                "images": np.array(images, dtype=np.float32).reshape(-1, *shape)}))


class KeptImages:
    """An open file of images; `metadata` is what it says of itself. Raises RnabenchError for one that is damaged."""

    def __init__(self, file: Path) -> None:
        self.file, self._tensors = file, opened(file, WHAT)
        self.metadata: dict[str, str] = self._tensors.metadata() or {}
        found = {name: self._tensors.get_slice(name) for name in self._tensors.keys()}  # noqa: SIM118 - no mapping
        if {name: each.get_dtype() for name, each in found.items()} != KINDS:
            raise self._damaged(f"expected the tensors {', '.join(KINDS)}")
        self.indices: NDArray[np.int64] = self._tensors.get_tensor("indices")
        self.labels: NDArray[np.int64] = self._tensors.get_tensor("labels")
        exact = self._tensors.get_tensor("exact")
        shapes = [tuple(found[name].get_shape()) for name in ("change", "images")]
        if not (self.indices.ndim == self.labels.ndim == exact.ndim == 1
                and len(set(self.indices.tolist())) == len(self.indices) == len(self.labels) == len(exact)
                and all(len(shape) == 4 for shape in shapes) and shapes[0][1:] == shapes[1][1:]
                and [shape[0] for shape in shapes] == [int((exact == 1).sum()), int((exact == 0).sum())]):
            raise self._damaged("expected tensors of the same images")
        self.shape = shapes[0][1:]
        self._change, self._images = found["change"], found["images"]
        self._labels: dict[int, int] = dict(zip(self.indices.tolist(), self.labels.tolist(), strict=True))
        place = np.where(exact == 1, np.cumsum(exact == 1), np.cumsum(exact == 0)) - 1
        self._rows = {index: (bool(is_exact), row) for index, is_exact, row in zip(
            self.indices.tolist(), exact.tolist(), place.tolist(), strict=True)}

    def has(self, indices: Sequence[int]) -> NDArray[np.bool_]:
        """Which of these images it holds."""
        return np.array([index in self._rows for index in indices], dtype=bool)

    def of(self, batch: Batch) -> Tensor:
        """The adversarial images of a batch, as they were attacked, on its device: float32 [N, 3, H, W] in [0, 1].

        Raises RnabenchError for images of another size, or with other labels."""
        labels = batch.labels.tolist()
        if self.shape != batch.images.shape[1:] or any(
                self._labels[index] != label for index, label in zip(batch.indices, labels, strict=True)):
            raise self._damaged("expected images of the size, and with the labels, of the data set")
        clean, made = _levels(batch.images.detach().cpu()), torch.empty(batch.images.shape)
        for number, index in enumerate(batch.indices):
            is_exact, row = self._rows[index]
            kept = torch.from_numpy((self._change if is_exact else self._images)[row : row + 1])[0]
            made[number] = _pixels(clean[number] + kept) if is_exact else kept
        return made.to(batch.images.device, memory_format=torch.channels_last)

    def _damaged(self, reason: str) -> RnabenchError:
        return RnabenchError(f"{WHAT}: {str(self.file)!r} is damaged, or no file of adversarial images; {reason}, as "
                             "`rnabench attack --keep-images` writes them")


def _levels(images: Tensor) -> Tensor:
    """The nearest multiples of 1/255, uint8."""
    return (images * 255).round().to(torch.uint8)


def _pixels(levels: Tensor) -> Tensor:
    """Levels as pixels in [0, 1]; on the CPU, as other devices round a division by 255 in another way."""
    return levels.float() / 255
