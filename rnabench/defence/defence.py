"""What attacks, scoring and studies ask of a randomised defence: draws of its randomness, and the network on a draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from rnabench.errors import ModelError, NumericalError
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


def check_form(logits: object, images: int, classes: int) -> None:
    """Raises ModelError unless these are logits [images, classes] of real numbers; nothing waits for the device."""
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != images:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(f"model: returned {shape} for {images} images; expected logits of shape [{images}, classes]")
    if logits.shape[1] != classes:
        raise ModelError(f"model: returned {logits.shape[1]} classes; expected {classes}, as in the data set")
    if logits.is_complex() or logits.is_quantized or logits.layout != torch.strided:
        kind = f"{str(logits.layout).removeprefix('torch.')} {str(logits.dtype).removeprefix('torch.')}"
        raise ModelError(f"model: returned logits of kind {kind}; expected a dense tensor of real numbers")


def check_logits(logits: object, images: int, classes: int) -> None:
    """Raises ModelError as `check_form` does, NumericalError for logits that are not finite."""
    check_form(logits, images, classes)
    assert isinstance(logits, Tensor)
    if not bool(torch.isfinite(logits).all()):
        raise NumericalError("model: logits are not finite (NaN or infinity); expected numbers; nothing was scored")
