"""Corrupted images, made on the fly: the same for an example whatever batch it is in and on whatever device.

They are computed on the CPU in float64 and rounded to 8 bits, as CIFAR-10-C's images are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from rnabench.data.images import ImageSet
from rnabench.seeding import ExampleStreams
from rnabench.settings.corruptions import CORRUPTIONS, Corrupted

AT_ONCE = 256  # images of a data set


class Numbers:
    """Random numbers of N examples, float64 [N, *shape]; every call takes the next draw of each example's stream."""

    def __init__(self, streams: ExampleStreams) -> None:
        self._streams = streams

    def __len__(self) -> int:
        return len(self._streams)

    def uniform(self, *shape: int) -> NDArray[np.float64]:
        """Inside (0, 1)."""
        numbers: NDArray[np.float64] = self._streams.uniform(*shape).double().numpy() + 2**-25
        return numbers

    def between(self, low: float, high: float, *shape: int) -> NDArray[np.float64]:
        """Uniform from `low` to `high`."""
        return low + (high - low) * self.uniform(*shape)

    def normal(self, *shape: int) -> NDArray[np.float64]:
        """Normal, with mean 0 and deviation 1."""
        numbers: NDArray[np.float64] = ndtri(self.uniform(*shape))
        return numbers


def corrupt(images: Tensor, indices: Sequence[int], corrupted: Corrupted, seed: int) -> Tensor:
    """Images float32 [N, 3, H, W] in [0, 1], corrupted and rounded to multiples of 1/255, on the same device; `indices`
    are the examples', by which their random numbers are counted."""
    kind = CORRUPTIONS[corrupted.name]
    numbers = Numbers(ExampleStreams(seed, "corruption", corrupted.name, corrupted.severity, indices=indices))
    clean = images.detach().cpu().double().contiguous().numpy()
    # what is not needed of a copy is a function's to change: it is handed its own
    found = kind.apply(clean.copy(), kind.levels[corrupted.severity - 1], numbers)
    pixels = np.rint(np.clip(found, 0, 1) * 255)
    return torch.empty_like(images).copy_(torch.from_numpy(pixels).float() / 255)


def corrupt_set(images: ImageSet, corrupted: Corrupted, seed: int) -> ImageSet:
    """A data set of the corrupted images."""
    parts = []
    for low in range(0, len(images), AT_ONCE):
        rows = slice(low, low + AT_ONCE)
        clean = torch.from_numpy(images.images[rows].astype(np.float32)).permute(0, 3, 1, 2) / 255
        found = corrupt(clean, images.indices[rows].tolist(), corrupted, seed)
        parts.append((found * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return replace(images, images=np.concatenate(parts))
