"""The training loop: one engine for every objective, device and precision, stoppable after any step."""

from __future__ import annotations

import copy
import csv
import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rnabench.data.batches import batches
from rnabench.data.sources import TrainingData
from rnabench.errors import NumericalError
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.runs import LOG
from rnabench.runtime.files import write_text
from rnabench.runtime.progress import Progress, WithinBatch
from rnabench.runtime.ranks import ALONE, Ranks
from rnabench.runtime.rate import Arithmetic
from rnabench.runtime.stopping import StopRequest
from rnabench.settings.training import TrainingSettings
from rnabench.training.average import WeightAverage
from rnabench.training.holdout import HeldOut, holdout_accuracy
from rnabench.training.objective import Network
from rnabench.training.shared import SharedUpdate
from rnabench.training.state import State
from rnabench.training.step import TrainingStep
from rnabench.training.update import CapturedUpdate, Update

WARMUP = 0.25  # of a one-cycle run


def learning_rate(schedule: str, peak: float, progress: float, epoch: int = 0,
                  milestones: Sequence[int] | None = None) -> float:
    """The rate at `progress` in [0, 1) of all steps, in `epoch` (counted from 0).

    step: peak, a tenth after 1/2 and a hundredth after 3/4 (the paper's 100 and 150 of 200 epochs), or a tenth of the
    rate after each of `milestones`, in epochs; cosine: from peak to 0; one-cycle: linearly up to peak over the first
    quarter, then linearly to 0.
    """
    if milestones is not None:
        return peak * 0.1 ** sum(epoch >= milestone for milestone in milestones)
    if schedule == "step":
        return peak * (1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01)
    if schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * progress))
    return peak * (progress / WARMUP if progress < WARMUP else (1 - progress) / (1 - WARMUP))


SAVE_SECONDS = 60.0  # a killed run loses at most this much work


@dataclass
class Trainer:
    """Trains `model` by `recipe`, with its `teacher` if it has one, on `data`, keeping its state in `folder` (see
    `State`). Several `ranks` do it together; the first one's folder is the run's, and it alone writes. `on_epoch` is
    told of each finished epoch's row of the log."""

    model: RandomizedClassifier
    recipe: TrainingSettings
    data: TrainingData
    folder: Path
    progress: Progress
    stop: StopRequest
    arithmetic: Arithmetic | None = None
    teacher: Network | None = None
    ranks: Ranks = ALONE
    on_epoch: Callable[[Mapping[str, float]], None] = lambda row: None

    def __post_init__(self) -> None:
        self.device = next(self.model.parameters()).device
        self.step = TrainingStep(self.model, self.recipe, self.teacher, len(self.data.classes))
        captured = self.recipe.capture and self.device.type == "cuda"
        self.update = SharedUpdate(self.step, self.ranks) if self.ranks.several else (
            CapturedUpdate(self.step) if captured else Update(self.step))
        self.rate = self.recipe.lr
        decay = self.recipe.weight_average
        self.average = None if decay is None else WeightAverage(self.model, decay)
        self.judged = self.average.average if self.average is not None else self.model
        self.steps_per_epoch = batches(len(self.data.train), self.recipe.batch_size, self.recipe.drop_last)
        self.images_per_epoch = min(self.steps_per_epoch * self.recipe.batch_size, len(self.data.train))
        attack_passes = self.step.attack_passes if self.step.objective.attacks else 0.0
        self.step_passes = self.step.objective.cost(self.recipe) + attack_passes  # per image, as forward passes
        self.saved = time.monotonic()
        digest = self.recipe.digest()
        self.state = self.ranks.by_first(lambda: State.load(self.folder, digest)) or State(digest)
        if self.state.model:
            self.model.load_state_dict(self.state.model)
            self.update.load_state_dict(self.state.optimizer)
            if self.average is not None and self.state.average is not None:
                self.average.average.load_state_dict(self.state.average)
                self.average.updates = self.state.updates

    @property
    def epochs_done(self) -> float:
        return self.state.epoch + self.state.step / self.steps_per_epoch

    def run(self) -> tuple[dict[str, Any], dict[str, float]]:
        """Train to the end; returns the selected weights and their epoch's row of the log (nothing after no epoch).

        Raises Stopped, with the state saved, if asked to stop.
        """
        while self.state.epoch < self.recipe.epochs:
            self._epoch()
            self._finish_epoch()
        self._write_log()  # once more, should the last write have been cut off
        if self.state.best is not None and self.state.best_epoch is not None:
            return self.state.best, self.state.log[self.state.best_epoch]
        return self.judged.state_dict(), self.state.log[-1] if self.state.log else {}

    def _score(self, row: dict[str, float]) -> tuple[float, float]:
        scores = row["holdout_pgd"], row["holdout_natural"]
        objective = self.step.objective
        return scores if objective.attacks and objective.for_robustness else scores[::-1]

    def _epoch(self) -> None:
        state, recipe = self.state, self.recipe
        loss_sum = torch.tensor(state.loss, dtype=torch.float64, device=self.device)
        correct = torch.tensor(state.correct, device=self.device)
        started = time.perf_counter() - state.seconds
        self.model.train()
        images = self.images_per_epoch + len(self.data.holdout)
        title, note = f"epoch {state.epoch + 1}/{recipe.epochs}", self._note()
        self.progress.begin(title, images * recipe.epochs, images * state.epoch + state.step * recipe.batch_size)
        for batch in self.data.train.shuffled(recipe.batch_size, recipe.seed, state.epoch, state.step,
                                              recipe.drop_last):
            self.rate = self._rate(state.step)
            within = WithinBatch(self.progress, batch.size, self.step_passes / self.ranks.count)
            self.step.on_pass = within.passed
            loss, hits = self.update(batch, state.epoch, state.step, self.rate)
            if self.average is not None:
                self.average.follow(self.model)
            loss_sum += loss * (batch.size / recipe.batch_size)
            correct += hits
            state.step += 1
            within.finish(note)
            stopping, due = self._stopping_or_due()
            if stopping or due:
                state.seconds = time.perf_counter() - started
                self._save(loss_sum, correct)
                if stopping:
                    raise self.stop.stopped(f"{title}, step {state.step} of {self.steps_per_epoch}")
        state.loss, state.correct = float(loss_sum), int(correct)
        state.seconds = time.perf_counter() - started

    def _rate(self, step: int) -> float:
        """The learning rate of a step of this epoch."""
        recipe, steps = self.recipe, self.steps_per_epoch
        done = (self.state.epoch * steps + step) / (recipe.epochs * steps)
        return learning_rate(recipe.schedule, recipe.lr, done, self.state.epoch, recipe.milestones)

    def _finish_epoch(self) -> None:
        state, recipe = self.state, self.recipe
        seen = self.images_per_epoch
        self._check_finite()
        self.rate = self._rate(self.steps_per_epoch - 1)  # in an earlier process, perhaps
        held_out = {}
        if len(self.data.holdout):
            step = TrainingStep(self.judged, recipe, classes=len(self.data.classes))
            natural, robust = holdout_accuracy(self.judged, step, self.data.holdout, self.progress, state.held_out,
                                               self._on_held_out, self.ranks)
            held_out = {"holdout_natural": round(natural, 6), "holdout_pgd": round(robust, 6)}
        row = {
            "epoch": state.epoch + 1,
            "lr": round(self.rate, 8),
            "loss": round(state.loss / (seen / recipe.batch_size), 6),
            "train_accuracy": round(state.correct / seen, 6),
            **held_out,
            "images_per_second": round(seen / state.seconds, 1),
        }
        state.log.append(row)
        if recipe.select == "best" and (state.best_epoch is None or self._score(row) > self._score(
                state.log[state.best_epoch])):
            state.best_epoch, state.best = state.epoch, copy.deepcopy(self.judged.state_dict())
        state.epoch, state.step, state.loss, state.correct, state.seconds = state.epoch + 1, 0, 0.0, 0, 0.0
        state.held_out = (0, 0, 0)
        self._save()
        self._write_log()
        self.on_epoch(row)
        told = (f"epoch {row['epoch']}/{recipe.epochs}", f"loss {row['loss']:.4f}", self._note(),
                f"{row['images_per_second']:,.0f} images/s",
                self.arithmetic.share(row["images_per_second"]) if self.arithmetic else "")
        self.progress.line("  ".join(part for part in told if part))
        if self.ranks.any(bool(self.stop))[0] and state.epoch < recipe.epochs:
            raise self.stop.stopped(f"after epoch {state.epoch} of {recipe.epochs}")

    def _on_held_out(self, so_far: HeldOut) -> None:
        """Of an epoch whose steps are all done."""
        self.state.held_out = so_far
        stopping, due = self._stopping_or_due()
        if stopping or due:
            self._save()
        if stopping:
            raise self.stop.stopped(f"after the steps of epoch {self.state.epoch + 1} of {self.recipe.epochs}")

    def _save(self, loss: Tensor | None = None, correct: Tensor | None = None) -> None:
        if loss is not None and correct is not None:
            self.state.loss, self.state.correct = float(loss), int(correct)
        self._check_finite()
        self.state.model, self.state.optimizer = self.model.state_dict(), self.update.state_dict()
        if self.average is not None:
            self.state.average, self.state.updates = self.average.average.state_dict(), self.average.updates
        self.ranks.by_first(lambda: self.state.save(self.folder))
        self.saved = time.monotonic()

    def _stopping_or_due(self) -> tuple[bool, bool]:
        """Whether any rank is asked to stop, and whether it is time to save; the same on all, at the same step."""
        stopping, due = self.ranks.any(bool(self.stop), time.monotonic() - self.saved > SAVE_SECONDS)
        return stopping, due

    def _write_log(self) -> None:
        self.ranks.by_first(lambda: write_text(self.folder / LOG, log_csv(self.state.log)))

    def _check_finite(self) -> None:
        """A state that has diverged is never saved."""
        weights = torch.stack([tensor.isfinite().all() for network in {self.model, self.judged}
                               for tensor in network.state_dict().values()]).all()  # the device is asked once
        if not (bool(weights) and math.isfinite(self.state.loss)):
            raise NumericalError(f"loss or weights: not finite in epoch {self.state.epoch + 1}; expected numbers; this "
                                 "recipe diverges: train another, with a smaller --lr or --precision fp32")

    def _note(self) -> str:
        if not self.state.log or "holdout_pgd" not in self.state.log[-1]:
            return ""
        last = self.state.log[-1]
        return f"held-out natural {last['holdout_natural']:.1%} PGD-{self.recipe.steps} {last['holdout_pgd']:.1%}"


def log_csv(rows: list[dict[str, float]]) -> str:
    """The epochs as CSV text."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else ["epoch"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
