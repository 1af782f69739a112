"""Work over a test set, batch by batch: arrays per image, kept in a journal so that a stopped study goes on, and what a
record says of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rnabench.attack.resumable import Kept, resumable
from rnabench.data.batches import Batch, BatchSource
from rnabench.data.sources import ProbeData
from rnabench.evaluation.batch import check_images
from rnabench.evaluation.resuming import one_batch
from rnabench.runtime.device import memory_ran_out, undivided
from rnabench.runtime.journal import Journal
from rnabench.runtime.progress import Progress
from rnabench.runtime.stopping import StopRequest
from rnabench.scoring.outcome import bits, from_bits
from rnabench.settings.studies import Results

Arrays = dict[str, NDArray[Any]]
"""By name, arrays whose first axis is the images."""
OnBatch = Callable[[Batch, int], Arrays]
"""Arrays from a batch and the number of its first image; what is random depends on images' numbers or indices only."""


@dataclass
class Work:
    """`source` in batches of `batch_size`. `announce` is called before the first of it, when settings are judged.
    `training`: the data set's training images, for a study that trains classifiers (`Probing`). `whole`: batches are
    never divided, since predictions depend on batch mates."""

    source: BatchSource
    batch_size: int
    journal: Journal
    progress: Progress
    stop: StopRequest
    announce: Callable[[], None] | None = None
    training: ProbeData | None = None
    whole: bool = False

    def __call__(self, name: str, on_batch: OnBatch, together: int = 1) -> Arrays:
        """The arrays of all images; batches that the journal has under `name` are not worked on again.

        `together`: images that have a part in each other's results stay together in so many, from the first on; what is
        handed over is a multiple of that, but for the last. A batch for which memory runs out is worked on in halves,
        as far as they may be parted; if it has to stay whole, InvalidValue is raised. Raises Stopped if asked to;
        within a batch, what is `resumable` goes on from where it was.
        """
        self._begin()
        kept = self.journal.batches((name,))
        size = self._at_once = max(1, self.batch_size // together) * together
        parts = [{key: _array(value) for key, value in content["arrays"].items()} for content in kept]
        total = len(self.source)
        self.progress.begin(name, total, min(total, len(parts) * size))
        for number, batch in enumerate(self.source.in_order(size, start=len(parts)), start=len(parts)):
            where = f"{name}, {number * size} of {total} images"
            if self.stop:
                raise self.stop.stopped(where)
            check_images(batch.images)
            with one_batch(self.journal, (name,), number, self.stop, where) as work:
                parts.append(self._in_pieces(on_batch, batch, number * size, together))
            self.journal.append((name,), {"arrays": {key: _json(value) for key, value in parts[-1].items()}})
            work.done()
            self.progress.advance(len(batch.indices))
        return _joined(parts)

    def once(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """Arrays that are no sum over a test set, kept in the journal too."""
        for content in self.journal.batches((name,)):
            return {key: _array(value) for key, value in content["arrays"].items()}
        if self.stop:
            raise self.stop.stopped(name)
        self._begin()
        with one_batch(self.journal, (name,), 0, self.stop, name) as work:
            found = compute()
        self.journal.append((name,), {"arrays": {key: _json(value) for key, value in found.items()}})
        work.done()
        return found

    def _begin(self) -> None:
        if self.announce is not None:
            self.announce()
            self.announce = None

    def _in_pieces(self, on_batch: OnBatch, batch: Batch, first: int, together: int) -> Arrays:
        found = Kept(pieces=[], place=0, at_once=self._at_once)
        for part in resumable(self._left(batch, found), found):
            images, failed = len(part.indices), False
            try:
                found.pieces.append(on_batch(part, first + found.place))
                found.place += images
            except RuntimeError as error:
                failed = True
                if not memory_ran_out(error) or images == 1:
                    raise
                if images <= together or (self.whole and together == 1):
                    raise undivided(images) from error
            if failed:  # outside the handler, which holds on to the failed work's tensors
                found.at_once = self._at_once = max(1, images // 2 // together) * together
                self.progress.line(f"out of memory: going on with {self._at_once} images at once")
                if batch.images.device.type == "cuda":
                    torch.cuda.empty_cache()
        return _joined(found.pieces)

    def _left(self, batch: Batch, found: Kept) -> Iterator[Batch]:
        """The parts of a batch that are worked on next, as large as memory was found to hold, until all are done."""
        self._at_once = found.at_once
        while found.place < len(batch.indices):
            yield batch.part(found.place, found.place + self._at_once)


def spread(values: NDArray[Any]) -> Results:
    """Mean, its standard error over images, and quantiles of what is a number; how much is none (a zero gradient)."""
    numbers = values[~np.isnan(values)]
    flat = values.reshape(len(values), -1)
    counts = (~np.isnan(flat)).sum(1)
    per_image = np.nansum(flat, axis=1)[counts > 0] / counts[counts > 0]
    if not len(numbers):
        return {"mean": None, "error": None, "quantiles": None, "undefined": int(values.size)}
    error = float(per_image.std(ddof=1) / math.sqrt(len(per_image))) if len(per_image) > 1 else math.nan
    return {"mean": float(numbers.mean()), "error": error if error == error else None,
            "quantiles": np.quantile(numbers, [0.05, 0.25, 0.5, 0.75, 0.95]).tolist(),
            "undefined": int(values.size - numbers.size)}


def short(values: NDArray[Any]) -> list[float | None]:
    """Every value to five digits, None for what is no number."""
    return [None if np.isnan(value) else float(f"{value:.5g}") for value in values.ravel()]


def _joined(parts: list[Arrays]) -> Arrays:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _json(array: NDArray[Any]) -> dict[str, Any]:
    if array.dtype == bool:
        return {"shape": array.shape, "bits": bits(array.ravel())}
    return {"shape": array.shape, "values": array.astype(float).ravel().tolist()}


def _array(content: dict[str, Any]) -> NDArray[Any]:
    flat = from_bits(content["bits"]) if "bits" in content else np.array(content["values"], dtype=float)
    return flat.reshape(content["shape"])
