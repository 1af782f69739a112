"""One batch: attacked, and scored on fresh draws."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnabench.data.batches import Batch
from rnabench.errors import NumericalError
from rnabench.evaluation.attacker import Attacker, memory_ran_out, uses_library
from rnabench.evaluation.cells import Cell
from rnabench.evaluation.defence import Defence, check_logits
from rnabench.evaluation.interval import Groups
from rnabench.evaluation.outcome import Outcome, path_groups
from rnabench.evaluation.protocol import Protocol
from rnabench.evaluation.surrogate import SURROGATE_PROTOCOL, Surrogate
from rnabench.path.path import Path
from rnabench.plan import EvaluationKeys
from rnabench.progress import Progress, Silent


class Evaluator:
    """Attacks and scores one batch."""

    def __init__(self, defence: Defence, keys: EvaluationKeys, classes: int, progress: Progress | None = None,
                 surrogate: Surrogate | None = None) -> None:
        self.defence, self.keys, self.classes, self.progress = defence, keys, classes, progress or Silent()
        self.random = defence.space.is_random
        self.attacker = Attacker(defence, keys, classes)
        self.surrogate = Attacker(surrogate.defence, keys, classes) if surrogate else None
        self.take_all_memory()

    def take_all_memory(self) -> None:
        """Forget that memory ran out: the next attack may need less."""
        self.at_once, self.attacker.most_pixels = self.keys.batch_size, None

    def outcome(self, cell: Cell, batch: Batch, first: int, alive: NDArray[np.bool_] | None = None) -> Outcome:
        """The outcome of a batch that starts at image number `first` of the evaluation; images that are not `alive`
        count as broken and are not attacked.

        If memory runs out the batch is worked on in halves: only libraries' attacks draw other random numbers then.
        """
        started = time.perf_counter()
        check_images(batch.images)
        count = len(batch.indices)
        groups = path_groups(first, count, self.keys.attack_paths)
        todo = self._apart(cell, np.arange(count) if alive is None else np.flatnonzero(alive), groups)
        done: list[tuple[NDArray[np.int64], Outcome]] = []
        while todo:
            rows = todo.pop(0)
            if len(rows) > self.at_once:
                rows, rest = rows[: self.at_once], rows[self.at_once :]
                todo.insert(0, rest)
            part = batch.take(rows.tolist())
            try:
                done.append((rows, self._outcome(cell, part, groups[rows])))
                continue
            except RuntimeError as error:
                if not self.halve(error, part):
                    raise
            # outside the handler, which holds on to the failed attack's tensors
            todo.insert(0, rows)
            if batch.images.device.type == "cuda":
                torch.cuda.empty_cache()
        shared = self.random and self.keys.granularity == "batch"
        return _whole(cell, count, done, groups if shared else None).timed(time.perf_counter() - started)

    def _apart(self, cell: Cell, rows: NDArray[np.int64], groups: Groups) -> list[NDArray[np.int64]]:
        """The images that are worked on together: all, or the groups one by one where only one path is known at a
        time."""
        one_path = not self.defence.space.takes_rows or (cell.attack is not None and cell.surrogate is None and
                                                         uses_library(cell.attack, self.keys))
        if not (one_path and self.random and self.keys.granularity == "batch"):
            return [rows] if len(rows) else []
        return [rows[groups[rows] == group] for group in np.unique(groups[rows])]

    def halve(self, error: RuntimeError, batch: Batch) -> bool:
        """Whether memory ran out with this batch and there is a half to go on with."""
        images = len(batch.indices)
        if not memory_ran_out(error) or images == 1:
            return False
        self.at_once = images // 2
        # averaging over paths may then take no more images at once either
        self.attacker.most_pixels = self.at_once * batch.images[0, 0].numel()
        if self.surrogate is not None:
            self.surrogate.most_pixels = self.attacker.most_pixels
        self.progress.line(f"out of memory: going on with {self.at_once} images at once")
        return True

    def _outcome(self, cell: Cell, batch: Batch, groups: Groups) -> Outcome:
        images, attacked = batch.images, None
        if cell.surrogate is not None and cell.attack is not None:
            assert self.surrogate is not None
            images, _ = self.surrogate(cell.attack, SURROGATE_PROTOCOL, batch, groups)
        elif cell.attack is not None:
            images, attacked = self.attacker(cell.attack, cell.protocol or Protocol("paper"), batch, groups)
        same_path = cell.protocol is not None and cell.protocol.same_path
        predictions = self.predictions(images, attacked if same_path else None, batch, groups)
        right = predictions == batch.labels
        majority = most_frequent(predictions, self.classes) == batch.labels
        reported = right[0] if attacked is None else self._predict(images, attacked) == batch.labels
        distances = None
        if cell.attack is not None and not cell.attack.bounded:
            distances = (images - batch.images).flatten(1).norm(dim=1).double().cpu().numpy()
        return Outcome(*cell.key, right.T.cpu().numpy(), majority.cpu().numpy(), reported.cpu().numpy(), None, 0.0,
                       distances)

    def predictions(self, images: Tensor, path: Path | None, batch: Batch, groups: Groups) -> Tensor:
        """Predicted classes int64 [D, N]: on `path` if given, else on fresh draws from a stream of their own.

        The draws of an image, or of its path group, are the same for every attack, so that attacks compare on equal
        draws.
        """
        if path is None and not self.random:
            path = self.defence.space.sample(torch.Generator())  # the only one
        if path is not None:
            return self._predict(images, path)[None]
        draw = self.attacker.drawer("scoring path", batch, groups)
        return torch.stack([self._predict(images, draw(1)) for _ in range(self.keys.draws)])

    def _predict(self, images: Tensor, path: Path) -> Tensor:
        with torch.no_grad():
            logits = self.defence.on(path)(images)
        check_logits(logits, len(images), self.classes)
        return logits.argmax(1)


def _whole(cell: Cell, count: int, parts: list[tuple[NDArray[np.int64], Outcome]], groups: Groups | None) -> Outcome:
    """The outcome of `count` images from those of some of them, each with its rows; the others count as broken."""
    draws = parts[0][1].correct.shape[1] if parts else 1
    correct = np.zeros((count, draws), dtype=bool)
    majority, reported = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    distances = None if cell.attack is None or cell.attack.bounded else np.zeros(count)
    for rows, part in parts:
        correct[rows], majority[rows], reported[rows] = part.correct, part.majority, part.reported
        if distances is not None and part.distances is not None:
            distances[rows] = part.distances
    return Outcome(*cell.key, correct, majority, reported, groups, 0.0, distances)


def most_frequent(predictions: Tensor, classes: int) -> Tensor:
    """The class predicted most often for each image, int64 [N] from [D, N]; of equals, the lower."""
    votes = torch.nn.functional.one_hot(predictions, classes).sum(0)
    return (votes * classes - torch.arange(classes, device=votes.device)).argmax(1)


def check_images(images: Tensor) -> None:
    """Raises NumericalError unless all pixels are in [0, 1]."""
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):
        raise NumericalError(f"images: pixels from {low:g} to {high:g}; expected [0, 1] (normalise inside the model)")
