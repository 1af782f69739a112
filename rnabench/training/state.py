"""The state of a stopped run: everything that the next call needs to end with the same weights, bit for bit.

There is no generator state in it: every stream of random numbers is named by (seed, purpose, epoch, step).
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, fields
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from rnabench.errors import CheckpointError
from rnabench.runtime.files import write_bytes

FILE = "state.pt"
FORMAT = 1


@dataclass
class State:
    """Where a run stands: `step` of `epoch` is the next one, sums are over the epoch so far, `held_out` says how far it
    was judged (see `HeldOut`), `log` has a row per finished epoch, `average` is that of the weights over so many
    `updates` if there is one, and `best` are the weights after `best_epoch` (both counted from 0)."""

    digest: str
    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    correct: int = 0
    seconds: float = 0.0
    held_out: tuple[int, int, int] = (0, 0, 0)
    log: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int | None = None
    best: dict[str, Any] | None = None
    model: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    average: dict[str, Any] | None = None
    updates: int = 0
    format: int = FORMAT

    def save(self, folder: Path) -> None:
        """Replace the folder's state atomically."""
        torch.save({item.name: getattr(self, item.name) for item in fields(self)}, content := BytesIO())
        write_bytes(folder / FILE, content)

    @classmethod
    def load(cls, folder: Path, digest: str) -> State | None:
        """The folder's state, None if it has none. Raises CheckpointError for a damaged file or another recipe's."""
        file = folder / FILE
        if not file.exists():
            return None
        try:
            state = cls(**torch.load(file, map_location="cpu", weights_only=True))
            if (state.digest, state.format) != (digest, FORMAT):
                raise ValueError("of another recipe or version")
            return state
        except (RuntimeError, pickle.UnpicklingError, EOFError, TypeError, ValueError, KeyError) as error:
            raise CheckpointError(f"out: {str(file)!r} is damaged or foreign; expected the state of this run; "
                                  "delete it to train from the start") from error
