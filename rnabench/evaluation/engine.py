"""Attacks under protocols over a test set: adversarial images batch by batch, each scored on fresh draws."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rnabench.attack.estimators import expectation, frozen_parameters, one_path
from rnabench.attack.gradient import PGD
from rnabench.attack.suite import AttackSpec, parse_attack
from rnabench.attack.threat import Linf
from rnabench.data.batches import Batch, BatchSource
from rnabench.errors import NumericalError
from rnabench.evaluation.defence import Defence, check_logits
from rnabench.evaluation.journal import Journal
from rnabench.evaluation.outcome import Outcome, joined
from rnabench.evaluation.protocol import Protocol, parse_protocol
from rnabench.model.mode import in_mode
from rnabench.norm.layers import frozen_statistics
from rnabench.path.path import Path
from rnabench.progress import Progress
from rnabench.recipe import EvaluationKeys
from rnabench.seeding import ExampleStreams, stream
from rnabench.stopping import StopRequest

NATURAL = "natural"
ANY_PROTOCOL = "any"  # without an attacker, or without randomness, all protocols are the same


@dataclass(frozen=True)
class Cell:
    """One attack under one protocol; `attack` None is the natural accuracy."""

    attack: AttackSpec | None
    protocol: Protocol | None

    @property
    def key(self) -> tuple[str, str]:
        return (self.attack.name if self.attack else NATURAL, self.protocol.name if self.protocol else ANY_PROTOCOL)


def cells(keys: EvaluationKeys, is_random: bool) -> list[Cell]:
    """What is run: natural accuracy, then every attack under every protocol (once, if the model is deterministic)."""
    attacks, protocols = keys.plan()
    judged = [parse_protocol(name) for name in protocols] if is_random else [None]
    return [Cell(None, None), *(Cell(parse_attack(attack), protocol) for attack in attacks for protocol in judged)]


def evaluate(
    model: nn.Module, defence: Defence, source: BatchSource, classes: int, keys: EvaluationKeys, journal: Journal,
    progress: Progress, stop: StopRequest,
) -> list[Outcome]:
    """Outcomes of all cells; batches that the journal has are not run again.

    `model` is the module behind `defence` (often the same object); its mode, buffers, parameters' requires_grad and
    gradients are left as they were. Raises Stopped between two batches if asked to, NumericalError for images outside
    [0, 1] or logits that are not finite.
    """
    evaluator = Evaluator(defence, keys, classes)
    with in_mode(model, training=False), frozen_parameters(model), frozen_statistics(model):
        return [_run(evaluator, cell, source, journal, progress, stop)
                for cell in cells(keys, defence.space.is_random)]


def _run(evaluator: Evaluator, cell: Cell, source: BatchSource, journal: Journal, progress: Progress,
         stop: StopRequest) -> Outcome:
    size = evaluator.keys.batch_size
    parts = journal.parts(cell.key)
    progress.begin(" / ".join(cell.key), len(source), min(len(parts) * size, len(source)))
    for number, batch in enumerate(source.in_order(size, start=len(parts)), start=len(parts)):
        if stop:
            raise stop.stopped(f"{' / '.join(cell.key)}, {number * size} of {len(source)} images")
        parts.append(evaluator.outcome(cell, batch, number))
        journal.add(cell.key, parts[-1])
        right = float(np.concatenate([part.correct for part in parts]).mean())
        progress.advance(len(batch.indices), f"accuracy {right:.1%}")
    return joined(parts)


class Evaluator:
    """Attacks and scores one batch. Streams are named by (seed, purpose, ...), and by example or batch number."""

    def __init__(self, defence: Defence, keys: EvaluationKeys, classes: int) -> None:
        self.defence, self.keys, self.classes = defence, keys, classes
        self.random = defence.space.is_random

    def outcome(self, cell: Cell, batch: Batch, number: int) -> Outcome:
        started = time.perf_counter()
        check_images(batch.images)
        images, attacked = batch.images, None
        if cell.attack is not None:
            images, attacked = self.attack(cell.attack, cell.protocol or Protocol("paper"), batch, number)
        same_path = cell.protocol is not None and cell.protocol.same_path
        predictions = self.predictions(images, attacked if same_path else None, batch, number)
        right = predictions == batch.labels
        majority = most_frequent(predictions, self.classes) == batch.labels
        reported = right[0] if attacked is None else self._predict(images, attacked) == batch.labels
        shared = self.random and self.keys.granularity == "batch"
        return Outcome(
            *cell.key, right.T.cpu().numpy(), majority.cpu().numpy(), reported.cpu().numpy(),
            np.full(len(images), number) if shared else None, time.perf_counter() - started,
        )

    def attack(self, spec: AttackSpec, protocol: Protocol, batch: Batch, number: int) -> tuple[Tensor, Path]:
        """Adversarial images, and a path that the attacker knows: its frozen one, or one more draw."""
        step = self.keys.step if spec.random_start else self.keys.eps
        attack = PGD(Linf(self.keys.eps), step, spec.steps, spec.random_start)
        noise = None
        if spec.random_start:
            streams = ExampleStreams(self.keys.seed, "attack start", spec.name, indices=batch.indices)
            noise = streams.uniform(*batch.images.shape[1:]).to(batch.images)
        draw = self._drawer("attack paths", batch, number, spec.name, protocol.name)
        if protocol.samples and self.random:
            estimate = expectation(self.defence, draw, protocol.samples)
            return attack(estimate, batch.images, batch.labels, noise), draw(1)
        path = draw(1)
        return attack(one_path(self.defence, path), batch.images, batch.labels, noise), path

    def predictions(self, images: Tensor, path: Path | None, batch: Batch, number: int) -> Tensor:
        """Predicted classes int64 [D, N]: on `path` if given, else on fresh draws from a stream of their own.

        The draws of an example (of a batch) are the same for every attack, so that attacks compare on equal draws.
        """
        if path is None and not self.random:
            path = self.defence.space.sample(torch.Generator())  # the only one
        if path is not None:
            return self._predict(images, path)[None]
        draw = self._drawer("scoring paths", batch, number)
        return torch.stack([self._predict(images, draw(1)) for _ in range(self.keys.draws)])

    def _predict(self, images: Tensor, path: Path) -> Tensor:
        with torch.no_grad():
            logits = self.defence.on(path)(images)
        check_logits(logits, len(images), self.classes)
        return logits.argmax(1)

    def _drawer(self, what: str, batch: Batch, number: int, *names: str) -> Callable[[int], Path]:
        space, seed = self.defence.space, self.keys.seed
        if self.keys.granularity == "sample":
            streams = ExampleStreams(seed, what, *names, indices=batch.indices)
            return lambda repeats: space.sample_each(streams, repeats)
        generator = stream(seed, what, *names, number)
        return lambda repeats: space.sample(generator)


def most_frequent(predictions: Tensor, classes: int) -> Tensor:
    """The class predicted most often for each image, int64 [N] from [D, N]; of equals, the lower."""
    votes = torch.nn.functional.one_hot(predictions, classes).sum(0)
    return (votes * classes - torch.arange(classes, device=votes.device)).argmax(1)


def check_images(images: Tensor) -> None:
    """Raises NumericalError unless all pixels are in [0, 1]."""
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):
        raise NumericalError(f"images: pixels from {low:g} to {high:g}; expected [0, 1] (normalise inside the model)")
