"""What a recipe has still to do, and about how long that takes here; nothing is trained or attacked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rnabench.data.batches import Batch
from rnabench.data.sources import training_data
from rnabench.evaluation.batch import Attacker
from rnabench.evaluation.cells import cells, probes
from rnabench.evaluation.cost import Speed, estimate_seconds, speed
from rnabench.evaluation.engine import cell_name, total_images
from rnabench.jobs.evaluate import cell_journal
from rnabench.jobs.reproduce import Place, check, images, target, there, trained
from rnabench.jobs.study import finished_study, stale_study
from rnabench.jobs.train import stale_reasons
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.factory import build_model
from rnabench.model.saved import RUN_FILE, read_run
from rnabench.report.staleness import reasons
from rnabench.runtime.device import find_device, number_formats
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.recipe import Recipe
from rnabench.settings.training import TrainingSettings
from rnabench.training.state import State

TIMED = {"cpu": 16, "cuda": 128}  # images at once, to time a pass


@dataclass(frozen=True)
class Piece:
    """A network to train, a model to attack or a study: `state` in words, and about how many `seconds` are left on an
    idle machine, and how many beside what else runs on this one `now`.

    `stale`: it is there as older algorithms made it, and kept; the times are those of making it anew.
    """

    kind: str
    name: str
    state: str
    seconds: float
    now: float
    stale: bool = False


def forecast(recipe: Recipe, place: Place) -> list[Piece]:
    """Everything in the order in which it is done; at the evaluation's precision, without compiling. Raises as
    `reproduce` does before it starts."""
    check(recipe, place.device)
    return list(_Forecast(recipe, place).pieces())


class _Forecast:
    def __init__(self, recipe: Recipe, place: Place) -> None:
        self.recipe, self.place, self.device = recipe, place, find_device(place.device)
        self._speeds: dict[tuple[str, int | None, str, str], Speed] = {}

    def pieces(self) -> Iterator[Piece]:
        seen = set()
        for name, training in self.recipe.models.items():
            if (run := self.place.run(training)) not in seen:
                seen.add(run)
                yield self._training(name, training)
        for name in self.recipe.table:
            yield self._attacks(name)
        for name in self.recipe.figures:
            yield self._study(name)

    def _training(self, name: str, training: TrainingSettings) -> Piece:
        run = self.place.run(training)
        why = stale_reasons(read_run(run)) if (run / RUN_FILE).exists() else []
        if trained(run) and not why:
            return Piece("train", name, "done", 0.0, 0.0)
        epochs = 0
        if (run / RUN_FILE).exists() and not why and (
                state := State.load(run, str(read_run(run).get("digest")))) is not None:
            epochs = state.epoch
        data = training_data(training, training.n_train, training.n_holdout, training.seed, self.device, False)
        passes = 1 if training.objective == "standard" else 1 + training.steps
        per_image = self._speed(name, self.recipe.evaluate)
        seconds = (training.epochs - epochs) * passes * (len(data.train) + len(data.holdout)) * per_image.gradient
        if trained(run):
            return self._piece("train", name, why, seconds, per_image.load)
        said = f"{epochs} of {training.epochs} epochs" if epochs else "to do"
        return Piece("train", name, said, seconds, seconds * per_image.load)

    def _attacks(self, name: str) -> Piece:
        keys = self.recipe.evaluate
        model, _, classes = self._network(name, keys)
        random, count = model.space.is_random, len(images(self.recipe, name, keys, self.device).source)
        todo = [(cell, total_images(cell, count)) for cell in cells(keys, random) + probes(keys, random)
                if self.recipe.attacks is None or cell.group in self.recipe.attacks]
        left, why = list(todo), list[str]()
        if self.place.has(self.recipe.models[name]):
            found = target(self.recipe, self.place, name, keys)
            record = there(found, keys, self.place, name)
            if record is not None and not (why := reasons(record)):
                return Piece("attack", name, "done", 0.0, 0.0)
            journal = cell_journal(found, keys, self.place.record(name))
            left = [(cell, max(0, total - keys.batch_size * len(journal.parts(cell_name(cell, keys, count)))))
                    for cell, total in todo] if record is None else todo
        per_image = self._speed(name, keys)
        seconds = sum(estimate_seconds(Attacker(model, keys, classes), per_image, left))
        if why:
            return self._piece("attack", name, why, seconds, per_image.load)
        done = sum(not images for _, images in left)
        return Piece("attack", name, f"{done} of {len(todo)} cells", seconds, seconds * per_image.load)

    def _study(self, name: str) -> Piece:
        figure = self.recipe.figures[name]
        study, evaluation = figure.study, figure.study.evaluation()
        why: list[str] = []
        if all(self.place.has(self.recipe.models[model]) for model in figure.models):
            targets = [target(self.recipe, self.place, model, evaluation) for model in figure.models]
            record = finished_study(targets, study, self.place.record(name)) or (
                None if self.place.refresh else stale_study(targets, study, self.place.record(name)))
            if record is not None and not (why := reasons(record)):
                return Piece("study", name, "done", 0.0, 0.0)
        count = len(images(self.recipe, figure.models[0], evaluation, self.device).source)
        seconds = now = 0.0
        for model in figure.models:
            network, _, classes = self._network(model, evaluation)
            gradients, forwards = study.passes(len(network.space.layers), len(figure.models), classes)
            per_image = self._speed(model, evaluation)
            one = count * (gradients * per_image.gradient + forwards * per_image.forward)
            seconds, now = seconds + one, now + one * per_image.load
        if why:
            return self._piece("study", name, why, seconds, now / seconds)
        return Piece("study", name, "to do", seconds, now)

    def _piece(self, kind: str, name: str, why: list[str], seconds: float, load: float) -> Piece:
        """What older algorithms made: to be done only if that is asked for."""
        return Piece(kind, name, f"stale: {'; '.join(why)}", seconds, seconds * load, not self.place.refresh)

    def _network(self, name: str, keys: EvaluationSettings) -> tuple[RandomizedClassifier, Batch, int]:
        """An untrained network like the model's, and some of its test images."""
        training = self.recipe.models[name]
        data = images(self.recipe, name, keys, self.device)
        model = build_model(training.arch, training.space, len(data.classes), training.width,
                            layer_based=training.layer_based).to(self.device).eval()
        model.precision = keys.precision
        return model, next(data.source.in_order(TIMED[self.device.type])), len(data.classes)

    def _speed(self, name: str, keys: EvaluationSettings) -> Speed:
        training = self.recipe.models[name]
        key = (training.arch, training.width, training.space, keys.precision)
        if key not in self._speeds:
            model, batch, classes = self._network(name, keys)
            with number_formats(keys.precision, self.device):
                self._speeds[key] = speed(Attacker(model, keys, classes), batch)
        return self._speeds[key]
