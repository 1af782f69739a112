"""How long an evaluation takes, from its parameters and two timed passes."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rnabench.attack.estimators import GRADIENT_COST, OnePath
from rnabench.data.batches import Batch
from rnabench.evaluation.attacker import Attacker
from rnabench.evaluation.cells import Cell
from rnabench.runtime.progress import FEW_SECONDS, NOTEWORTHY

TIMED_SECONDS = 0.2  # at least, so that what else runs has its turns
ONE_PASS_SECONDS = 0.5  # at most for the images of a timed pass, unless two take longer


@dataclass(frozen=True)
class Speed:
    """Seconds per image of a forward and backward pass, and of a forward pass alone, on a machine that does nothing
    else; `load` is how many times as long they took when they were timed, beside whatever ran then."""

    gradient: float
    forward: float
    load: float = 1.0


def speed(attacker: Attacker, batch: Batch, work: float = math.inf) -> Speed:
    """Timed here and now, on one path, in some seconds: a large network on a slow machine by fewer images than the
    batch has.

    `work` is how many passes of an image, with a gradient, are to come: where even two by two they take but
    FEW_SECONDS, a pair tells enough (and takes longer than many do, image by image).
    """
    view = OnePath(attacker.defence, attacker.drawer("cost", batch, np.zeros(len(batch.indices), dtype=np.int64))(1))
    on_cuda = batch.images.device.type == "cuda"
    few, rows = batch.part(0, 2), torch.arange(len(batch.indices))  # with rows, images keep their own paths
    images = len(few.indices)  # a pair: of a single image a network may have no statistics of the batch
    alone = _fastest_of_two(lambda: view.gradient(few.images, few.labels, rows=rows[:images]), on_cuda) / images
    if alone * work < FEW_SECONDS:
        return Speed(alone, alone / GRADIENT_COST)
    batch = batch.part(0, max(images, int(ONE_PASS_SECONDS / alone)))
    count = len(batch.indices)
    gradient, gradient_now = timed(lambda: view.gradient(batch.images, batch.labels, rows=rows[:count]), on_cuda)
    forward, forward_now = timed(lambda: view.wrong(batch.images, batch.labels, rows[:count]), on_cuda)
    return Speed(gradient / count, forward / count, (gradient_now + forward_now) / (gradient + forward))


def estimate_seconds(attacker: Attacker, per_image: Speed, left: Sequence[tuple[Cell, int]]) -> list[float]:
    """About how long each cell takes for so many images, if no attack ends early."""
    found = []
    for cell, images in left:
        gradients, forwards = passes(attacker, cell)
        found.append(images * (gradients * per_image.gradient + forwards * per_image.forward))
    return found


def passes(attacker: Attacker, cell: Cell) -> tuple[float, float]:
    """About how many gradients and forward passes a cell takes per image, if its attack does not end early."""
    random = attacker.defence.space.is_random
    samples = cell.protocol.samples if cell.protocol else 0
    scored = attacker.keys.draws if random and not (cell.protocol and cell.protocol.same_path) else 1
    gradients, forwards = 0.0, 0.0
    if cell.attack is not None:
        gradients, forwards = cell.attack.parameters.passes_of(samples if random else 0, attacker.classes)
    return gradients, forwards + scored + 1


def forward_passes(attacker: Attacker, cell: Cell) -> float:
    """The same in forward passes per image."""
    gradients, forwards = passes(attacker, cell)
    return GRADIENT_COST * gradients + forwards


def timed(case: Callable[[], object], on_cuda: bool) -> tuple[float, float]:
    """Seconds of `case` on an idle machine, and by the clock on the wall, here and now.

    On a CPU the first are those in which a core worked for this thread, which has its part in all that PyTorch
    computes; those in which it waited for a core do not count. Threads that wait for each other count as working,
    though, and where one has no core for a moment they wait a hundredfold: beside much load both are at most what one
    thread takes alone. On CUDA, and on Windows, which counts in steps of 16 ms, there is the clock on the wall only.
    """
    own, wall = _clocked(case, on_cuda)
    threads = torch.get_num_threads()
    if not on_cuda and threads > 1 and wall > NOTEWORTHY * own:
        torch.set_num_threads(1)
        try:
            alone, wall_alone = _clocked(case, on_cuda)
            own, wall = min(own, alone), min(wall, wall_alone)
        finally:
            torch.set_num_threads(threads)
    return own, wall


def _own_clock(on_cuda: bool) -> Callable[[], float]:
    return time.perf_counter if on_cuda or sys.platform == "win32" else time.thread_time


def _fastest_of_two(case: Callable[[], object], on_cuda: bool) -> float:
    own, fastest = _own_clock(on_cuda), float("inf")
    for _ in range(2):
        _wait(on_cuda)
        started = own()
        case()
        _wait(on_cuda)
        fastest = min(fastest, own() - started)
    return max(fastest, 1e-6)


def _clocked(case: Callable[[], object], on_cuda: bool) -> tuple[float, float]:
    """After a warm-up, the fastest run by this thread's clock, and the mean of all runs by the clock on the wall."""
    own = _own_clock(on_cuda)
    case()
    fastest, wall, runs = float("inf"), 0.0, 0
    while runs < 2 or wall < TIMED_SECONDS:
        _wait(on_cuda)
        started, own_started = time.perf_counter(), own()
        case()
        _wait(on_cuda)
        fastest = min(fastest, own() - own_started)
        wall, runs = wall + time.perf_counter() - started, runs + 1
    return max(fastest, 1e-9), max(wall / runs, fastest)


def _wait(on_cuda: bool) -> None:
    if on_cuda:
        torch.cuda.synchronize()
