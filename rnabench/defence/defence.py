"""What attacks, scoring and studies ask of a randomised defence: draws of its randomness, and the network on a draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from rnabench.path.path import Path
from rnabench.seeding import ExampleStreams


class Draws(Protocol):
    """The part of `PathSpace` that an evaluation needs."""

    @property
    def is_random(self) -> bool: ...

    @property
    def takes_rows(self) -> bool:
        """Whether a path may have a row for each image of a batch."""

    def sample(self, generator: torch.Generator, rows: int = 1) -> Path: ...

    def sample_each(self, streams: ExampleStreams, repeats: int = 1) -> Path: ...


class Defence(Protocol):
    """A model under attack. `RandomizedClassifier` and `ForeignModel` are the two kinds; their `batch_dependent` says
    whether a prediction depends on the image's batch mates, and `replayable` of the second whether its draws can be
    frozen."""

    @property
    def space(self) -> Draws: ...

    def on(self, path: Path) -> Callable[[Tensor], Tensor]: ...


def batch_dependent(defence: Defence) -> bool:
    """Whether batches have to stay whole; a defence that does not say predicts each image by itself."""
    return bool(getattr(defence, "batch_dependent", False))


def replayable(defence: Defence) -> bool:
    """Whether the same path is the same network again; a defence that does not say is."""
    return bool(getattr(defence, "replayable", True))
