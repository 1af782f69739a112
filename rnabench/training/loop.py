"""The training loop: one engine for every objective, device and precision, stoppable after any step."""

from __future__ import annotations

import copy
import csv
import io
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rnabench.data.batches import batches
from rnabench.data.sources import TrainingData
from rnabench.errors import NumericalError
from rnabench.files import write_text
from rnabench.model.classifier import RandomizedClassifier
from rnabench.progress import Progress
from rnabench.recipe import TrainRecipe
from rnabench.stopping import StopRequest
from rnabench.training.holdout import holdout_accuracy
from rnabench.training.objective import Objective
from rnabench.training.schedule import learning_rate
from rnabench.training.state import State

SAVE_SECONDS = 60.0  # a killed run loses at most this much work
LOG = "log.csv"


@dataclass
class Trainer:
    """Trains `model` by `recipe` on `data`, keeping its state in `folder` (see `State`)."""

    model: RandomizedClassifier
    recipe: TrainRecipe
    data: TrainingData
    folder: Path
    progress: Progress
    stop: StopRequest

    def __post_init__(self) -> None:
        self.device = next(self.model.parameters()).device
        self.objective = Objective(self.model, self.recipe)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=self.recipe.lr, momentum=self.recipe.momentum,
                                         weight_decay=self.recipe.weight_decay)
        self.steps_per_epoch = batches(len(self.data.train), self.recipe.batch_size, self.recipe.drop_last)
        self.images_per_epoch = min(self.steps_per_epoch * self.recipe.batch_size, len(self.data.train))
        self.state = State.load(self.folder, self.recipe.digest()) or State(self.recipe.digest())
        if self.state.model:
            self.model.load_state_dict(self.state.model)
            self.optimizer.load_state_dict(self.state.optimizer)

    def run(self) -> tuple[dict[str, Any], dict[str, float]]:
        """Train to the end; returns the selected weights and their epoch's row of the log.

        Raises Stopped, with the state saved, if asked to stop.
        """
        while self.state.epoch < self.recipe.epochs:
            self._epoch()
            self._finish_epoch()
        write_text(self.folder / LOG, log_csv(self.state.log))  # once more, should the last write have been cut off
        if self.state.best is not None and self.state.best_epoch is not None:
            return self.state.best, self.state.log[self.state.best_epoch]
        return self.model.state_dict(), self.state.log[-1]

    def _score(self, row: dict[str, float]) -> tuple[float, float]:
        scores = row["holdout_pgd"], row["holdout_natural"]
        return scores[::-1] if self.recipe.objective == "standard" else scores

    def _epoch(self) -> None:
        state, recipe = self.state, self.recipe
        loss_sum = torch.tensor(state.loss, dtype=torch.float64, device=self.device)
        correct = torch.tensor(state.correct, device=self.device)
        started, saved = time.perf_counter() - state.seconds, time.monotonic()
        self.model.train()
        images = self.images_per_epoch
        title, note = f"epoch {state.epoch + 1}/{recipe.epochs}", self._note()
        self.progress.begin(title, images * recipe.epochs, images * state.epoch + state.step * recipe.batch_size)
        for batch in self.data.train.shuffled(recipe.batch_size, recipe.seed, state.epoch, state.step,
                                              recipe.drop_last):
            done = (state.epoch * self.steps_per_epoch + state.step) / (recipe.epochs * self.steps_per_epoch)
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(recipe.schedule, recipe.lr, done, state.epoch, recipe.milestones)
            loss, hits = self.objective(batch, state.epoch, state.step)
            self.optimizer.zero_grad()
            self.objective.backward(loss)
            self.optimizer.step()
            loss_sum += loss.detach() * (len(batch.indices) / recipe.batch_size)
            correct += hits
            state.step += 1
            self.progress.advance(len(batch.indices), note)
            stopping = bool(self.stop)
            if stopping or time.monotonic() - saved > SAVE_SECONDS:
                state.seconds = time.perf_counter() - started
                self._save(loss_sum, correct)
                saved = time.monotonic()
                if stopping:
                    raise self.stop.stopped(f"{title}, step {state.step} of {self.steps_per_epoch}")
        state.loss, state.correct = float(loss_sum), int(correct)
        state.seconds = time.perf_counter() - started

    def _finish_epoch(self) -> None:
        state, recipe = self.state, self.recipe
        seen = self.images_per_epoch
        self._check_finite()
        held_out = {}
        if len(self.data.holdout):
            natural, robust = holdout_accuracy(self.model, self.objective, self.data.holdout)
            held_out = {"holdout_natural": round(natural, 6), "holdout_pgd": round(robust, 6)}
        row = {
            "epoch": state.epoch + 1,
            "lr": round(self.optimizer.param_groups[0]["lr"], 8),
            "loss": round(state.loss / (seen / recipe.batch_size), 6),
            "train_accuracy": round(state.correct / seen, 6),
            **held_out,
            "images_per_second": round(seen / state.seconds, 1),
        }
        state.log.append(row)
        if recipe.select == "best" and (state.best_epoch is None or self._score(row) > self._score(
                state.log[state.best_epoch])):
            state.best_epoch, state.best = state.epoch, copy.deepcopy(self.model.state_dict())
        state.epoch, state.step, state.loss, state.correct, state.seconds = state.epoch + 1, 0, 0.0, 0, 0.0
        self._save()
        write_text(self.folder / LOG, log_csv(state.log))
        told = (f"epoch {row['epoch']}/{recipe.epochs}", f"loss {row['loss']:.4f}", self._note(),
                f"{row['images_per_second']:,.0f} images/s")
        self.progress.line("  ".join(part for part in told if part))
        if self.stop and state.epoch < recipe.epochs:
            raise self.stop.stopped(f"after epoch {state.epoch} of {recipe.epochs}")

    def _save(self, loss: Tensor | None = None, correct: Tensor | None = None) -> None:
        if loss is not None and correct is not None:
            self.state.loss, self.state.correct = float(loss), int(correct)
        self._check_finite()
        self.state.model, self.state.optimizer = self.model.state_dict(), self.optimizer.state_dict()
        self.state.save(self.folder)

    def _check_finite(self) -> None:
        """A state that has diverged is never saved."""
        weights = all(bool(tensor.isfinite().all()) for tensor in self.model.state_dict().values())
        if not (weights and math.isfinite(self.state.loss)):
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
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
