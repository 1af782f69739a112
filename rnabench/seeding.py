"""Named random streams: every draw comes from a generator that is derived from (seed, names) and handed over.

The package leaves the state of torch's and numpy's global generators as it finds it (what torch itself draws from
them, initial weights for one, is seeded by name and the state put back). A run is replayed by its seed, and a stopped
run needs no saved generator state: the stream of epoch 3, step 17 is named by (3, 17).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit integer that depends on the seed and on every name, and on nothing else (not on the platform)."""
    text = "/".join([str(seed), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh torch generator on `device` for the stream of that name."""
    return torch.Generator(device=device).manual_seed(derive(seed, *names))


class ExampleStreams:
    """One independent random stream per example, keyed by the example's index in its data set.

    What example 17 draws does not depend on which batch it is in, so results with per-sample draws are the same for
    every batch size. Philox is a counter-based generator: (stream, index) is its key.
    """

    def __init__(self, seed: int, *names: str | int, indices: Sequence[int]) -> None:
        key = derive(seed, *names)
        self._generators = [np.random.Generator(np.random.Philox(key=[key, index])) for index in indices]

    def __len__(self) -> int:
        return len(self._generators)

    def uniform(self, *shape: int) -> torch.Tensor:
        """Float64 [N, *shape], uniform on [0, 1): the next draw of every example's stream."""
        return torch.from_numpy(np.stack([generator.random(shape) for generator in self._generators]))
