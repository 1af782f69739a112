"""A data set in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rnabench.settings.datasets import Channels


@dataclass(frozen=True)
class ImageSet:
    """Images uint8 [N, H, W, 3], labels int64 [N] and each image's index in its split: what identifies it."""

    classes: tuple[str, ...]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, positions: Sequence[int] | NDArray[np.int64] | slice) -> ImageSet:
        """The images at these positions; they keep their indices."""
        return ImageSet(self.classes, self.images[positions], self.labels[positions], self.indices[positions])

    def fingerprint(self) -> str:
        """16 hex digits that depend on every pixel, label and index, and on their order."""
        digest = hashlib.sha256()
        for part in (self.images, self.labels, self.indices):
            digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()[:16]

    def statistics(self) -> tuple[Channels, Channels]:
        """Mean and standard deviation of each channel in [0, 1], to four digits."""
        pixels = torch.from_numpy(np.require(self.images, requirements=["C", "W"])).flatten(0, 2)
        levels = torch.arange(256, dtype=torch.float64) / 255
        counts = torch.stack([torch.bincount(channel, minlength=256) for channel in pixels.T]).double()
        counts /= counts.sum(1, keepdim=True)
        mean = counts @ levels
        std = ((counts @ levels.square()) - mean.square()).sqrt()
        return tuple(round(v, 4) for v in mean.tolist()), tuple(max(round(v, 4), 1e-4) for v in std.tolist())
