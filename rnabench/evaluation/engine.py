"""Attacks under protocols over a test set: every cell, batch by batch, from where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rnabench.attack.estimators import GRADIENT_COST, OnPass, frozen_parameters
from rnabench.data.batches import Batch, BatchSource, first_images
from rnabench.defence.defence import Defence, replayable
from rnabench.defence.foreign import is_foreign, one_line
from rnabench.errors import Busy, ModelError, NumericalError, RnabenchError
from rnabench.evaluation.attacker import check_plan, parameters
from rnabench.evaluation.batch import Evaluator
from rnabench.evaluation.cells import Cell, Surrogate, cells, probes
from rnabench.evaluation.cost import estimate_seconds, forward_passes, speed
from rnabench.evaluation.diagnosis import Diagnosis, Statistics, diagnose
from rnabench.evaluation.kept_images import PIECE, Collected, keeps_images
from rnabench.evaluation.resuming import one_batch
from rnabench.evaluation.sizes import check_sizes
from rnabench.model.classifier import RandomizedClassifier, in_mode
from rnabench.model.recorded import recorded_passes
from rnabench.norm.layers import frozen_statistics
from rnabench.runtime.device import memory_ran_out
from rnabench.runtime.journal import Journal
from rnabench.runtime.progress import FEW_SECONDS, Progress, WithinBatch, about, in_words
from rnabench.runtime.stopping import Stopped, StopRequest
from rnabench.scoring.outcome import Outcome, joined
from rnabench.seeding import stream
from rnabench.settings.algorithms import cell_versions
from rnabench.settings.base import digest
from rnabench.settings.evaluation import EvaluationSettings

OnCell = Callable[[int, Cell, Outcome], None]
"""Is told of a finished cell, and which one of all it is, counted from 1."""


@dataclass(frozen=True)
class Evaluation:
    """The table's outcomes, the sanity checks' own ones (on fewer images), and what was seen of the model itself."""

    outcomes: list[Outcome]
    probes: list[Outcome]
    diagnosis: Diagnosis


def evaluate(
    model: nn.Module, defence: Defence, source: BatchSource, classes: int, keys: EvaluationSettings,
    journal: Journal, progress: Progress, stop: StopRequest, chosen: Callable[[Cell], bool] = lambda cell: True,
    statistics: Statistics | None = None, surrogate: Surrogate | None = None, on_cell: OnCell | None = None,
) -> Evaluation | None:
    """Outcomes of all cells; None if some that are not `chosen` are still to be done. Batches that the journal has are
    not run again.

    `model` is the module behind `defence` (often the same object); its mode, buffers, parameters' requires_grad and
    gradients are left as they were. `statistics` are the data set's, for sanity check 8; on `surrogate`, if any, the
    images of a transfer attack are made. `on_cell` is told of each chosen cell once it is done. Raises Busy if nothing
    is left but cells that other processes work on, Stopped if asked to, InvalidValue for an attack that cannot be run
    like this, NumericalError for images outside [0, 1] or logits that are not finite.
    """
    random = defence.space.is_random
    other = surrogate.name if surrogate else None
    todo = cells(keys, random, other) + probes(keys, random, other, replayable(defence))
    check_plan(keys, [(cell.attack, cell.protocol.samples if cell.protocol else 0) for cell in todo if cell.attack],
               random, classes)
    check_sizes(defence, [cell.attack for cell in todo if cell.attack], source)
    was_training = model.training
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    run = _Run(Evaluator(defence, keys, classes, progress, surrogate), source, journal, progress, stop, len(todo),
               is_foreign(model), on_cell or (lambda number, cell, outcome: None))
    recorded: AbstractContextManager[None] = nullcontext()
    if keys.capture and isinstance(model, RandomizedClassifier) and next(model.parameters()).is_cuda:
        recorded = recorded_passes(model)
    with (torch.inference_mode(False), torch.enable_grad(),  # whatever the caller wants none for
          in_mode(model, training=False), frozen_parameters(model), frozen_statistics(model), recorded):
        with said_of("before the first batch", run.foreign):
            run.announce([cell for cell in todo if chosen(cell)])
        found: list[Outcome | None] = []
        busy: Busy | None = None
        for number, cell in enumerate(todo):
            try:
                found.append(run.cell(cell, number + 1) if chosen(cell) else run.done(cell))
            except Busy as error:
                if keys.cumulative:  # later cells attack what this one leaves
                    raise
                found.append(None)
                busy = error
        # cells that were not chosen, or that others worked on, may be finished by now
        found = [outcome or run.done(cell) for cell, outcome in zip(todo, found, strict=True)]
        left = [cell for cell, outcome in zip(todo, found, strict=True) if outcome is None]
        if busy is not None and any(map(chosen, left)):
            raise busy
        outcomes = [outcome for outcome in found if outcome is not None]
        if len(outcomes) < len(todo):
            return None
        path = defence.space.sample(stream(keys.seed, "diagnosis"))
        changed = [name for name, buffer in model.named_buffers() if not torch.equal(buffer, buffers[name])]
        few = keys.sanity_examples
        if run.evaluator.whole:  # the batches that these are in
            few = -(-few // keys.batch_size) * keys.batch_size
        first = first_images(source, run.evaluator.at_once, few)
        with said_of("diagnosis", run.foreign):
            diagnosis = diagnose(defence, path, first, was_training, changed, statistics)
    count = len(cells(keys, random, other))
    return Evaluation(outcomes[:count], outcomes[count:], diagnosis)


@dataclass
class _Run:
    evaluator: Evaluator
    source: BatchSource
    journal: Journal
    progress: Progress
    stop: StopRequest
    count: int
    foreign: bool
    on_cell: OnCell

    def __post_init__(self) -> None:
        self.standing: dict[float, NDArray[np.bool_]] = {}  # by eps: which images no bounded attack has broken yet

    def announce(self, todo: list[Cell]) -> None:
        """Say about how long it takes."""
        left = [(cell, images) for cell in todo if (images := self._total(cell) - self._finished(cell)) > 0
                and self.journal.is_free(self._name(cell))]
        if not left:
            return
        attacker = self.evaluator.attacker
        work = sum(images * forward_passes(attacker, cell) for cell, images in left) / GRADIENT_COST
        batch = next(self.source.in_order(self.evaluator.keys.batch_size))
        while True:
            batch = batch.part(0, self.evaluator.at_once)
            try:
                timed = speed(attacker, batch, work)
                break
            except RuntimeError as error:
                if not self.evaluator.halve(error, batch):
                    raise
        seconds = estimate_seconds(attacker, timed, left)
        slowest = sorted(zip(seconds, (cell.title for cell, _ in left), strict=True), reverse=True)[:3]
        named = ", ".join(f"{title} {in_words(time)}" for time, title in slowest)
        longest = f" at most; the longest: {named}" if sum(seconds) >= FEW_SECONDS else ""
        self.progress.line(f"takes {about(sum(seconds), timed.load)}{longest}")

    def _total(self, cell: Cell) -> int:
        return total_images(cell, len(self.source))

    def _finished(self, cell: Cell) -> int:
        return min(len(self.journal.batches(self._name(cell))) * self.evaluator.keys.batch_size, self._total(cell))

    def _name(self, cell: Cell) -> tuple[str, ...]:
        return cell_name(cell, self.evaluator.keys, len(self.source))

    def _parts(self, cell: Cell) -> list[Outcome]:
        return [Outcome.from_json(batch) for batch in self.journal.batches(self._name(cell))]

    def done(self, cell: Cell) -> Outcome | None:
        """The outcome of a cell that is finished, else None."""
        parts = self._parts(cell)
        if sum(len(part.correct) for part in parts) < self._total(cell):
            return None
        return self._kept(cell, joined(parts), self._standing(cell))

    def cell(self, cell: Cell, number: int) -> Outcome:
        """Run it, or what is left of it. Raises Busy, Stopped."""
        if (outcome := self.done(cell)) is None:
            with self.journal.claimed(self._name(cell)):
                outcome = self._run(cell, number)
        self.on_cell(number, cell, outcome)
        return outcome

    def _run(self, cell: Cell, number: int) -> Outcome:
        size, total = self.evaluator.keys.batch_size, self._total(cell)
        self.evaluator.take_all_memory()
        standing = self._standing(cell)
        parts = self._parts(cell)
        self.progress.begin(f"{number}/{self.count} {cell.title}", total, min(len(parts) * size, total))
        right = sum(float(part.correct.mean(1).sum()) for part in parts)
        done = sum(len(part.correct) for part in parts)
        if done < total:
            passes = forward_passes(self.evaluator.attacker, cell)
            for place, batch in enumerate(self.source.in_order(size, start=len(parts)), start=len(parts)):
                count = min(len(batch.indices), total - place * size)
                if not self.evaluator.whole:
                    batch = batch.part(0, count)
                where = f"{cell.title}, {place * size} of {total} images"
                if self.stop:
                    raise self.stop.stopped(where)
                alive = None if standing is None else standing[place * size : place * size + count]
                share = len(batch.indices) / count if alive is None or self.evaluator.whole else float(alive.mean())
                within = WithinBatch(self.progress, count, share * passes)
                with said_of(where, self.foreign), one_batch(
                        self.journal, self._name(cell), place, self.stop, where) as work:
                    self.evaluator.on_pass = _both(within.passed, work.passed)
                    outcome = self._outcome(cell, batch, place, alive).first(count)
                parts.append(outcome.timed(outcome.seconds + work.seconds))
                self.journal.append(self._name(cell), parts[-1].as_json())
                work.done()
                done, right = done + count, right + float(parts[-1].correct.mean(1).sum())
                within.finish(f"{right:,.0f} of {done:,} still right ({right / done:.1%})")
                if done >= total:
                    break
        return self._kept(cell, joined(parts), standing)

    def _outcome(self, cell: Cell, batch: Batch, place: int, alive: NDArray[np.bool_] | None) -> Outcome:
        """The outcome of batch number `place`; its adversarial images are written first, if they are kept."""
        first, file = place * self.evaluator.keys.batch_size, None
        if keeps_images(cell, self.evaluator.keys):
            file = self.journal.beside(self._name(cell), PIECE.format(place))
        if file is None:
            return self.evaluator.outcome(cell, batch, first, alive)
        attacker = self.evaluator.attacker if cell.surrogate is None else self.evaluator.surrogate
        assert attacker is not None
        attacker.on_images = collected = Collected()
        outcome = self.evaluator.outcome(cell, batch, first, alive)
        attacker.on_images = None
        collected.write(file, batch.indices, batch.images.shape[1:])
        return outcome

    def _kept(self, cell: Cell, outcome: Outcome, standing: NDArray[np.bool_] | None) -> Outcome:
        """The outcome; for cumulative attacks, what it leaves standing is remembered."""
        if self.evaluator.keys.cumulative and not cell.probe and (cell.attack is None or cell.attack.bounded):
            left = np.asarray(outcome.correct[:, 0])
            self.standing[self._eps(cell)] = left if standing is None else np.asarray(left & standing)
        return outcome

    def _eps(self, cell: Cell) -> float:
        if cell.attack is None:
            return 0.0
        return self.evaluator.keys.eps if cell.attack.eps is None else cell.attack.eps

    def _standing(self, cell: Cell) -> NDArray[np.bool_] | None:
        """The images that a cumulative attack still has to break: those that none of the same eps or less has."""
        if not self.evaluator.keys.cumulative or cell.attack is None or not cell.attack.bounded or cell.probe:
            return None
        return np.asarray(np.stack([left for eps, left in self.standing.items() if eps <= self._eps(cell)]).all(0))


def _both(tell: OnPass, then: Callable[[], None]) -> OnPass:
    def passed(passes: float) -> None:
        tell(passes)
        then()
    return passed


@contextmanager
def said_of(where: str, foreign: bool) -> Iterator[None]:
    """Errors of a network say where they were met: in the middle of long work, of which all batches before are kept.
    Of a `foreign` one any error is its own."""
    try:
        yield
    except (ModelError, NumericalError) as error:
        raise type(error)(f"{where}: {error}") from error
    except (Exception, SystemExit) as error:
        ours = isinstance(error, RnabenchError | Stopped | torch.OutOfMemoryError)
        if ours or not foreign or (isinstance(error, RuntimeError) and memory_ran_out(error)):
            raise
        raise ModelError(f"{where}: model: failed with {one_line(error)}; expected logits") from error


def total_images(cell: Cell, images: int) -> int:
    """On how many of so many images a cell is run."""
    return min(images, cell.limit or images)


def cell_name(cell: Cell, keys: EvaluationSettings, images: int) -> tuple[str, ...]:
    """What the journal calls a cell; another attack of the same name, or of another version, or on fewer images, is
    another cell."""
    attack, protocol = cell.key
    parameters = parameters_of(cell, keys)
    return (f"sanity/{attack}" if cell.probe else attack, protocol,
            digest({"parameters": parameters, "images": total_images(cell, images), "algorithms": algorithms_of(cell)}))


def algorithms_of(cell: Cell) -> dict[str, int]:
    """The versions of the algorithms that a cell rests on."""
    return cell_versions(cell.attack.kind if cell.attack else None, bool(cell.protocol and cell.protocol.samples))


def parameters_of(cell: Cell, keys: EvaluationSettings) -> dict[str, Any]:
    """Every parameter of a cell's attack; none for the natural accuracy."""
    if cell.attack is None:
        return {}
    values = parameters(cell.attack, keys, cell.protocol.samples if cell.protocol else 0)
    if cell.surrogate is None:
        return values
    return values | {"kind": "transfer", "attack": cell.attack.name, "surrogate": cell.surrogate}
