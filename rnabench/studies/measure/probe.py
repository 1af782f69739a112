"""Linear probing: a linear classifier on what a frozen network makes of images, alone or with scales and shifts."""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnabench.data.batches import Batch, BatchSource, batches, epoch_order
from rnabench.errors import NumericalError
from rnabench.runtime.files import write_bytes
from rnabench.runtime.stopping import Stopped
from rnabench.seeding import stream
from rnabench.settings.studies import Probing
from rnabench.studies.measure.work import Arrays, Work

SAVE_SECONDS = 20.0  # a killed run loses at most this much work, and the epoch that it was in


@dataclass(frozen=True)
class Features:
    """Features [N, D] that were made of a source's images, in the images' place: a BatchSource of its own.

    An epoch has the order that it has for the images, so that a probe of features meets the batches that one of images
    meets."""

    values: Tensor
    labels: Tensor
    indices: list[int]

    def __len__(self) -> int:
        return len(self.indices)

    def in_order(self, batch_size: int, start: int = 0) -> Iterator[Batch]:
        for low in range(start * batch_size, len(self), batch_size):
            rows = slice(low, low + batch_size)
            yield Batch(self.values[rows], self.labels[rows], self.indices[rows])

    def shuffled(self, batch_size: int, seed: int, epoch: int, start: int = 0, drop_last: bool = True
                 ) -> Iterator[Batch]:
        order = epoch_order(self.indices, seed, epoch)
        on_device = order.to(self.values.device)
        for number in range(start, batches(len(self), batch_size, drop_last)):
            rows = slice(number * batch_size, (number + 1) * batch_size)
            places = on_device[rows]
            yield Batch(self.values[places], self.labels[places], [self.indices[row] for row in order[rows].tolist()])


@torch.no_grad()
def features(network: nn.Module, source: BatchSource, work: Work, title: str) -> Features:
    """What a network in evaluation mode makes of all images of a source, without augmentation; it must fit into the
    device's memory. Raises Stopped."""
    values, labels, indices = [], [], []
    work.progress.begin(title, len(source))
    for batch in source.in_order(work.batch_size):
        if work.stop:
            raise work.stop.stopped(title)
        values.append(network(batch.images).float())
        labels.append(batch.labels)
        indices += batch.indices
        work.progress.advance(len(batch.indices))
    return Features(torch.cat(values), torch.cat(labels), indices)


@dataclass(frozen=True)
class Seen:
    """A source's images as the classifier sees them: what `network` makes of them."""

    source: BatchSource
    network: Callable[[Tensor], Tensor]


class Probe:
    """A linear classifier of D features, and the parameters of the network that are `tuned` with it.

    The first weights are torch's, uniform up to 1 / sqrt(D), and depend on D, the number of classes and the seed alone:
    probes of one network start alike, and meet the same batches.
    """

    def __init__(self, width: int, classes: int, tuned: Sequence[nn.Parameter], how: Probing, device: torch.device
                 ) -> None:
        self.how, self.tuned = how, list(tuned)
        self.classifier = nn.Linear(width, classes, device="meta").to_empty(device=device)
        bound = 1 / math.sqrt(width)
        for number, parameter in enumerate(self.classifier.parameters()):
            drawn = torch.rand(parameter.shape, generator=stream(how.seed, "linear classifier", number))
            parameter.data.copy_((2 * drawn - 1) * bound)
        self.trained = [*self.classifier.parameters(), *self.tuned]
        for parameter in self.trained:
            parameter.requires_grad_(True)
        self.optimizer = torch.optim.SGD(self.trained, lr=how.lr, momentum=how.momentum)

    def logits(self, seen: Seen, batch: Batch) -> Tensor:
        logits: Tensor = self.classifier(seen.network(batch.images).float())
        return logits

    def epoch(self, training: Seen, number: int, work: Work) -> Tensor:
        """One pass over the training images; mean loss and accuracy on the way, float64 [2]. The last incomplete batch
        counts too. Raises Stopped between two batches."""
        how, total = self.how, len(training.source)
        steps = batches(total, how.batch_size, False)
        sums = torch.zeros(2, dtype=torch.float64, device=self.trained[0].device)
        for step, batch in enumerate(training.source.shuffled(how.batch_size, how.seed, number, drop_last=False)):
            if work.stop:
                raise work.stop.stopped(f"epoch {number + 1} of {how.epochs}")
            done = (number * steps + step) / (how.epochs * steps)
            self.optimizer.param_groups[0]["lr"] = how.lr * 0.5 * (1 + math.cos(math.pi * done))
            logits = self.logits(training, batch)
            loss = F.cross_entropy(logits, batch.labels)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            hits = (logits.detach().argmax(1) == batch.labels).sum()
            sums += torch.stack([loss.detach().double() * len(batch.indices), hits.double()])
        return sums / total

    @torch.no_grad()
    def right(self, test: Seen) -> Tensor:
        """Which of the test images it tells right, bool [N]."""
        return torch.cat([self.logits(test, batch).argmax(1) == batch.labels
                          for batch in test.source.in_order(self.how.batch_size)])

    def state(self) -> list[Tensor]:
        """All that moves, copied: parameters, and their momenta once there are some."""
        momenta = [self.optimizer.state[parameter].get("momentum_buffer") for parameter in self.trained]
        return [tensor.detach().clone() for tensor in (*self.trained, *momenta) if tensor is not None]

    def load(self, state: Sequence[Tensor]) -> None:
        count = len(self.trained)
        for parameter, value in zip(self.trained, state, strict=False):
            parameter.data.copy_(value)
        for parameter, momentum in zip(self.trained, state[count:], strict=False):
            self.optimizer.state[parameter]["momentum_buffer"] = momentum.to(parameter.device).clone()


def train_probe(probe: Probe, training: Seen, test: Seen, work: Work, title: str) -> Arrays:
    """Train to the end: `curve` [epochs, 3], the loss and the accuracy on training images on the way and that on test
    images after each epoch, and `right` [N]: the test images that are told right in the end.

    Between two epochs it is kept every now and then, and when it is stopped. Raises Stopped, and NumericalError for a
    rate at which it diverges.
    """
    epochs, file = probe.how.epochs, work.journal.beside((title,), ".pt")
    piece = f"{work.journal.digest} {title}"
    curve = _load(probe, file, piece)
    state, saved = (probe.state(), list(curve)), time.monotonic()
    work.progress.begin(title, epochs * len(training.source), len(curve) * len(training.source))
    try:
        while len(curve) < epochs:
            row = probe.epoch(training, len(curve), work)
            tested = probe.right(test)
            curve.append([*row.tolist(), float(tested.double().mean())])
            if not math.isfinite(curve[-1][0]):
                raise NumericalError(f"{title}: the loss is not finite in epoch {len(curve)}; expected numbers, from a "
                                     "smaller --lr")
            state = probe.state(), list(curve)
            work.progress.advance(len(training.source))
            if time.monotonic() - saved > SAVE_SECONDS:
                _save(state, file, piece)
                saved = time.monotonic()
    except Stopped:
        _save(state, file, piece)
        raise
    return {"curve": np.array(curve), "right": probe.right(test).cpu().numpy()}


State = tuple[list[Tensor], list[list[float]]]


def _save(state: State, file: Path | None, piece: str) -> None:
    if file is not None and state[1]:
        torch.save({"piece": piece, "tensors": state[0], "curve": state[1]}, content := BytesIO())
        write_bytes(file, content)


def _load(probe: Probe, file: Path | None, piece: str) -> list[list[float]]:
    """The epochs that were kept, whose last state the probe takes; none without a whole file of this piece of work."""
    if file is None or not file.exists():
        return []
    try:
        kept = torch.load(file, map_location="cpu", weights_only=True)
        if kept["piece"] != piece:
            return []
        probe.load(kept["tensors"])
        return [list(map(float, row)) for row in kept["curve"]]
    except (RuntimeError, pickle.UnpicklingError, EOFError, TypeError, ValueError, KeyError):
        return []
