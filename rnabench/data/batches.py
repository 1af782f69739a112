"""Batches on the device: a data set that fits lives there as uint8, and augmentation runs batched beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from rnabench.data.images import ImageSet
from rnabench.runtime.ranks import ALONE, Ranks
from rnabench.seeding import ExampleStreams


@dataclass(frozen=True)
class Batch:
    """Images [N, 3, H, W] float32 in [0, 1] (channels-last), labels int64 [N], and the indices of the examples. Of a
    batch that several processes share, each has its own part: `whole` says how many images they have together."""

    images: Tensor
    labels: Tensor
    indices: list[int]
    whole: int | None = None

    @property
    def size(self) -> int:
        """How many images all processes have of it."""
        return len(self.indices) if self.whole is None else self.whole

    def part(self, low: int, high: int) -> Batch:
        """The examples from place `low` to before place `high`."""
        rows = slice(low, high)
        return Batch(self.images[rows], self.labels[rows], self.indices[rows])

    def take(self, places: list[int]) -> Batch:
        """The examples at these places, in that order; the batch itself if these are all."""
        if places == list(range(len(self.indices))):
            return self
        return Batch(self.images[places], self.labels[places], [self.indices[place] for place in places])


class BatchSource(Protocol):
    """What training and evaluation read from; `ResidentSource` and `StreamingSource` are the two kinds."""

    @property
    def indices(self) -> list[int]:
        """The index of every example in its data set, in order."""

    def __len__(self) -> int: ...

    def in_order(self, batch_size: int, start: int = 0) -> Iterator[Batch]:
        """All examples once, in the data set's order, without augmentation, from batch number `start` on."""

    def shuffled(self, batch_size: int, seed: int, epoch: int, start: int = 0, drop_last: bool = True
                 ) -> Iterator[Batch]:
        """One training epoch from batch number `start` on; `drop_last` leaves out the last incomplete batch. Of several
        ranks each gets its own rows of every batch."""


def first_images(source: BatchSource, batch_size: int, count: int) -> Iterator[Batch]:
    """The first `count` examples (all, if there are fewer), in order, in batches of at most `batch_size`."""
    for batch in source.in_order(batch_size):
        if count <= 0:
            break
        yield batch.part(0, count)
        count -= len(batch.indices)


class ResidentSource:
    """A data set held on the device as uint8; what is shuffled is augmented if asked to, and mirrored with `flip`, and
    shared among `ranks`."""

    def __init__(self, images: ImageSet, device: torch.device, augment: bool = False, flip: bool = True,
                 ranks: Ranks = ALONE) -> None:
        pixels = torch.from_numpy(images.images[:] if images.images.flags.writeable else images.images.copy())
        self._pixels = pixels.to(device)
        self._labels = torch.from_numpy(images.labels).to(device)
        self.indices = images.indices.tolist()
        self._augment, self._flip, self._device, self._ranks = augment, flip, device, ranks

    def __len__(self) -> int:
        return len(self.indices)

    def in_order(self, batch_size: int, start: int = 0) -> Iterator[Batch]:
        for low in range(start * batch_size, len(self), batch_size):
            rows = slice(low, low + batch_size)
            yield Batch(_to_float(self._pixels[rows]), self._labels[rows], self.indices[rows])

    def shuffled(self, batch_size: int, seed: int, epoch: int, start: int = 0, drop_last: bool = True
                 ) -> Iterator[Batch]:
        order = epoch_order(self.indices, seed, epoch)
        on_device = order.to(self._device)
        for number in range(start, batches(len(self), batch_size, drop_last)):
            whole, rows = own_rows(number, batch_size, len(self), self._ranks)
            pixels = self._pixels[on_device[rows]]
            indices = [self.indices[row] for row in order[rows].tolist()]
            if self._augment:
                streams = ExampleStreams(seed, "augmentation", indices=indices, first=epoch, device=self._device)
                pixels = pad_crop_flip(pixels, streams, flip=self._flip)
            yield Batch(_to_float(pixels), self._labels[on_device[rows]], indices, whole)


def own_rows(number: int, batch_size: int, examples: int, ranks: Ranks) -> tuple[int, slice]:
    """How many images batch `number` of an epoch has, and the places in the epoch's order of those of this rank."""
    first = number * batch_size
    whole = min(batch_size, examples - first)
    own = ranks.rows(whole)
    return whole, slice(first + own.start, first + own.stop)


def epoch_order(indices: Sequence[int], seed: int, epoch: int) -> Tensor:
    """The places of the examples with these indices, int64 [N], in the random order of that epoch."""
    return ExampleStreams(seed, "order", indices=indices, first=epoch).order()


def batches(examples: int, batch_size: int, drop_last: bool) -> int:
    """How many batches an epoch has, with or without the last incomplete one."""
    return examples // batch_size if drop_last else -(-examples // batch_size)


def _to_float(pixels: Tensor) -> Tensor:
    # [N, H, W, 3] in memory seen as [N, 3, H, W] is what torch calls channels-last: no copy
    return pixels.permute(0, 3, 1, 2).float().div_(255)


def pad_crop_flip(pixels: Tensor, streams: ExampleStreams, pad: int = 4, flip: bool = True) -> Tensor:
    """Zero-pad, crop back at a random place per image, and mirror a random half of them; uint8 [N, H, W, 3]."""
    count, height, width, _ = pixels.shape
    device = pixels.device
    top, left, mirrored = streams.below([2 * pad + 1, 2 * pad + 1, 2])[0].T[:, :, None]
    rows, columns = top + torch.arange(height, device=device), left + torch.arange(width, device=device)
    if flip:
        columns = torch.where(mirrored == 1, columns.flip(1), columns)
    padded = F.pad(pixels, (0, 0, pad, pad, pad, pad))
    samples = torch.arange(count, device=device)[:, None, None]
    return padded[samples, rows[:, :, None], columns[:, None, :]]
