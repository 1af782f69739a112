"""One batch: attacked, and scored on fresh draws."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnabench.attack.estimators import OnPass, nobody
from rnabench.attack.resumable import Kept, resumable
from rnabench.data.batches import Batch
from rnabench.defence.defence import Defence, batch_dependent, check_logits
from rnabench.errors import NumericalError
from rnabench.evaluation.attacker import Attacker, uses_library
from rnabench.evaluation.cells import SURROGATE_PROTOCOL, Cell, Surrogate
from rnabench.model.classifier import RandomizedClassifier
from rnabench.path.path import Path
from rnabench.runtime.device import memory_ran_out, undivided
from rnabench.runtime.progress import Progress, Silent
from rnabench.scoring.interval import Groups
from rnabench.scoring.outcome import Outcome
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.protocols import Protocol


class Evaluator:
    """Attacks and scores one batch."""

    def __init__(self, defence: Defence, keys: EvaluationSettings, classes: int, progress: Progress | None = None,
                 surrogate: Surrogate | None = None) -> None:
        self.defence, self.keys, self.classes, self.progress = defence, keys, classes, progress or Silent()
        self.random, self.whole = defence.space.is_random, batch_dependent(defence)
        self.on_pass: OnPass = nobody  # told of all that is computed for a batch, attacks and predictions
        self.attacker = Attacker(defence, keys, classes, on_pass=self._passed)
        self.surrogate = Attacker(surrogate.defence, keys, classes, on_pass=self._passed) if surrogate else None
        self.take_all_memory()

    def _passed(self, passes: float) -> None:
        self.on_pass(passes)

    def take_all_memory(self) -> None:
        """Forget that memory ran out: the next attack may need less."""
        self.at_once, self.attacker.most_pixels = self.keys.batch_size, None

    def outcome(self, cell: Cell, batch: Batch, first: int, alive: NDArray[np.bool_] | None = None) -> Outcome:
        """The outcome of a batch that starts at image number `first` of the evaluation; images that are not `alive`
        count as broken and are not attacked.

        If memory runs out the batch is worked on in halves: only libraries' attacks draw other random numbers then.
        Where predictions depend on batch mates it stays whole, with all that is not `alive`."""
        started = time.perf_counter()
        check_images(batch.images)
        count = len(batch.indices)
        groups = self.attacker.groups(first, count)
        standing = np.arange(count) if alive is None else np.flatnonzero(alive)
        together = self._apart(cell, np.arange(count) if self.whole and len(standing) else standing, groups)
        found = _nothing(cell, count, self.at_once)
        for rows in resumable(self._left(together, found, batch), found):
            part, failed = batch.take(rows.tolist()), False
            try:
                outcome = self._outcome(cell, part, groups[rows])
                _put(found, rows, *((standing, outcome.take(standing)) if self.whole else (rows, outcome)))
            except RuntimeError as error:
                failed = True
                if not self.halve(error, part):
                    raise
            if failed:  # outside the handler, which holds on to the failed attack's tensors
                found.at_once = self.at_once
                if batch.images.device.type == "cuda":
                    torch.cuda.empty_cache()
        shared = self.random and self.keys.granularity == "batch"
        return Outcome(*cell.key, np.zeros((count, 1), dtype=bool) if found.correct is None else found.correct,
                       found.majority, found.reported, groups if shared else None, time.perf_counter() - started,
                       found.distances)

    def _left(self, together: Sequence[NDArray[np.int64]], found: Kept, batch: Batch) -> Iterator[NDArray[np.int64]]:
        """The images that are worked on next, as many at once as memory was found to hold, until all are done."""
        if found.at_once < self.at_once:
            self._take_at_once(found.at_once, batch)
        for rows in together:
            while len(left := rows[~found.done[rows]]):
                yield left[: self.at_once]

    def _take_at_once(self, images: int, batch: Batch) -> None:
        self.at_once = images
        # averaging over paths may then take no more images at once either
        self.attacker.most_pixels = images * batch.images[0, 0].numel()
        if self.surrogate is not None:
            self.surrogate.most_pixels = self.attacker.most_pixels

    def _apart(self, cell: Cell, rows: NDArray[np.int64], groups: Groups) -> list[NDArray[np.int64]]:
        """The images that are worked on together: all, or the groups one by one where only one path is known at a
        time."""
        one_path = not self.defence.space.takes_rows or (cell.attack is not None and cell.surrogate is None and
                                                         uses_library(cell.attack, self.keys))
        if self.whole or not (one_path and self.random and self.keys.granularity == "batch"):
            return [rows] if len(rows) else []
        return [rows[groups[rows] == group] for group in np.unique(groups[rows])]

    def halve(self, error: RuntimeError, batch: Batch) -> bool:
        """Whether memory ran out with this batch and there is a half to go on with. Raises InvalidValue if a half is
        another batch."""
        images = len(batch.indices)
        if not memory_ran_out(error) or images == 1:
            return False
        if self.whole:
            raise undivided(self.keys.batch_size) from error
        self._take_at_once(images // 2, batch)
        if isinstance(self.defence, RandomizedClassifier) and self.defence.recorded is not None:
            self.defence.recorded.forget()
        self.progress.line(f"out of memory: going on with {self.at_once} images at once")
        return True

    def _outcome(self, cell: Cell, batch: Batch, groups: Groups) -> Outcome:
        images, attacked = batch.images, None
        if cell.surrogate is not None and cell.attack is not None:
            assert self.surrogate is not None
            images, _ = self.surrogate(cell.attack, cell.protocol or SURROGATE_PROTOCOL, batch, groups)
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
        """Predicted classes int64 [D, N]: on `path` if given, else on fresh draws from a stream of their own: those of
        an image, or of its path group, are the same for every attack, so that attacks compare on equal draws."""
        if path is None and not self.random:
            path = self.defence.space.sample(torch.Generator())  # the only one
        if path is not None:
            return self._predict(images, path)[None]
        draw, scored = self.attacker.drawer("scoring path", batch, groups), Kept(draws=[])
        for _ in resumable(range(self.keys.draws), scored):
            scored.draws.append(self._predict(images, draw(1)))
        return torch.stack(scored.draws)

    def _predict(self, images: Tensor, path: Path) -> Tensor:
        with torch.no_grad():
            logits = self.attacker.network.on(path)(images)
        check_logits(logits, len(images), self.classes)
        return logits.argmax(1)


def _nothing(cell: Cell, count: int, at_once: int) -> Kept:
    """The outcome of `count` images as it is built up: those that are not worked on count as broken."""
    none = np.zeros(count, dtype=bool)
    return Kept(done=none, correct=None, majority=none.copy(), reported=none.copy(), at_once=at_once,
                distances=None if cell.attack is None or cell.attack.bounded else np.zeros(count))


def _put(found: Kept, done: NDArray[np.int64], rows: NDArray[np.int64], part: Outcome) -> None:
    """Add the outcome of the images at `rows`; with it, those at `done` are."""
    if found.correct is None:
        found.correct = np.zeros((len(found.done), part.correct.shape[1]), dtype=bool)
    found.correct[rows], found.majority[rows], found.reported[rows] = part.correct, part.majority, part.reported
    if found.distances is not None and part.distances is not None:
        found.distances[rows] = part.distances
    found.done[done] = True


def most_frequent(predictions: Tensor, classes: int) -> Tensor:
    """The class predicted most often for each image, int64 [N] from [D, N]; of equals, the lower."""
    votes = torch.nn.functional.one_hot(predictions, classes).sum(0)
    return (votes * classes - torch.arange(classes, device=votes.device)).argmax(1)


def check_images(images: Tensor) -> None:
    """Raises NumericalError unless all pixels are in [0, 1]."""
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):
        raise NumericalError(f"images: pixels from {low:g} to {high:g}; expected [0, 1] (normalise inside the model)")
