"""A choice layer whose option number is a seed: what it makes of its input follows from that number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rnabench.path.choice import PathLayer
from rnabench.path.names import Numbers
from rnabench.seeding import derive, philox

SEEDS = 2**31
KEY = derive(0, "seed layer")


class SeedLayer(PathLayer):
    """A layer with random numbers, which are a function of (the seed that the path says, the place in the tensor) and
    of nothing else: not of the layer, the batch or the device, but for the rounding of a logarithm or a cosine.

    A path of one row says one seed for a batch: all its images have the same random numbers. A row for each image: each
    has numbers of its own, the same as that row alone gives. Every layer of a network has a seed of its own.
    """

    def __init__(self) -> None:
        super().__init__(Numbers(SEEDS))
        self.fixed: int | None = None  # the seed of an exported network, which knows no paths

    def uniform(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """Float32 [R, *shape], uniform on the odd multiples of 2^-24 in (0, 1); R is 1, or the images of the batch."""
        words = self._words(math.prod(shape), device)
        return (((words >> 9).float() + 0.5) * 2**-23).view(-1, *shape)

    def gaussian(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """Float32 [R, *shape] of mean 0 and variance 1 (Box and Muller 1958, from 24 bits each: up to 5.8 in size)."""
        count = math.prod(shape)
        first, second = self._words(count + count % 2, device).view(-1, (count + 1) // 2, 2).unbind(2)
        radius = (((first >> 8) + 1).float() * 2**-24).log().mul(-2).sqrt()
        angle = (second >> 8).float() * (2 * math.pi * 2**-24)
        pairs = torch.stack([radius * angle.cos(), radius * angle.sin()], 2)
        return pairs.flatten(1)[:, :count].reshape(-1, *shape)

    def _words(self, places: int, device: torch.device) -> Tensor:
        """Int64 [R, places] of 32 random bits each."""
        seed = self.chosen() if self.fixed is None else self.fixed
        if not isinstance(seed, Tensor):  # made there, so that nothing waits for a copy
            seed = torch.full((1,), seed, dtype=torch.int64, device=device)
        block, zero = torch.arange(-(-places // 4), device=device), torch.zeros((), dtype=torch.int64, device=device)
        words = torch.stack(philox((block, zero, seed.to(device)[:, None], zero), KEY), 2)
        return words.flatten(1)[:, :places].contiguous()
