"""The draws of a network whose randomness is no choice of layers: a path is the seed of its random numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rnabench.errors import InvalidValue
from rnabench.path.path import Path
from rnabench.seeding import ExampleStreams

BELOW = 2**31 - 1  # seeds that every generator takes: torch's, numpy's and Python's


@dataclass(frozen=True)
class Seeds:
    """A path is one seed for a whole batch or, if the network `takes_rows`, one for each image."""

    takes_rows: bool = False
    is_random: bool = True

    def sample(self, generator: torch.Generator, rows: int = 1) -> Path:
        return Path(torch.randint(0, BELOW, (rows, 1), generator=generator))

    def sample_each(self, streams: ExampleStreams, repeats: int = 1) -> Path:
        if len(streams) > 1 and not self.takes_rows:
            raise InvalidValue("--granularity", "sample", "'batch' for a --model that has one draw for a whole batch")
        return Path(streams.below([BELOW], repeats).flatten(0, 1).cpu())  # seeds are set by the host


@dataclass(frozen=True)
class OnlyOne:
    """The draws of a deterministic network."""

    is_random: bool = False
    takes_rows: bool = True

    def sample(self, generator: torch.Generator, rows: int = 1) -> Path:
        return Path(((),) * rows)

    def sample_each(self, streams: ExampleStreams, repeats: int = 1) -> Path:
        return Path(((),) * (repeats * len(streams)))
