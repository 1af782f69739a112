"""How long an evaluation takes, from its parameters and two timed passes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rnabench.attack.estimators import OnePath
from rnabench.data.batches import Batch
from rnabench.evaluation.attacker import Attacker
from rnabench.evaluation.cells import Cell


@dataclass(frozen=True)
class Speed:
    """Seconds per image of a forward and backward pass, and of a forward pass alone."""

    gradient: float
    forward: float


def speed(attacker: Attacker, batch: Batch) -> Speed:
    """Timed here and now, on one path."""
    view = OnePath(attacker.defence, attacker.drawer("cost", batch, np.zeros(len(batch.indices), dtype=np.int64))(1))
    on_cuda = batch.images.device.type == "cuda"
    count = len(batch.indices)
    return Speed(_seconds(lambda: view.gradient(batch.images, batch.labels), on_cuda) / count,
                 _seconds(lambda: view.wrong(batch.images, batch.labels), on_cuda) / count)


def estimate_seconds(attacker: Attacker, per_image: Speed, left: Sequence[tuple[Cell, int]]) -> list[float]:
    """About how long each cell takes for so many images, if no attack ends early."""
    random = attacker.defence.space.is_random
    found = []
    for cell, images in left:
        samples = cell.protocol.samples if cell.protocol else 0
        scored = attacker.keys.draws if random and not (cell.protocol and cell.protocol.same_path) else 1
        gradients, forwards = 0.0, 0.0
        if cell.attack is not None:
            gradients, forwards = cell.attack.parameters.passes(random and samples > 0, attacker.classes)
        draws = max(1, samples)
        found.append(images * (draws * gradients * per_image.gradient
                               + (draws * forwards + scored + 1) * per_image.forward))
    return found


def _seconds(case: Callable[[], object], on_cuda: bool) -> float:
    """The faster of two runs after a warm-up."""
    case()
    times = []
    for _ in range(2):
        _wait(on_cuda)
        started = time.perf_counter()
        case()
        _wait(on_cuda)
        times.append(time.perf_counter() - started)
    return min(times)


def _wait(on_cuda: bool) -> None:
    if on_cuda:
        torch.cuda.synchronize()


def in_words(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
