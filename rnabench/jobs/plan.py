"""What a recipe has still to do, and about how long that takes here; nothing is trained or attacked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from rnabench.defence.defence import replayable
from rnabench.defence.foreign import Classifier
from rnabench.evaluation.attacker import Attacker
from rnabench.evaluation.cells import cells, probes
from rnabench.evaluation.cost import Speed, estimate_seconds
from rnabench.evaluation.engine import cell_name, total_images
from rnabench.jobs.durations import network_like, network_speed, study_passes, training_passes
from rnabench.jobs.evaluate import cell_journal
from rnabench.jobs.foreign import SEEN, Adopted, adopt
from rnabench.jobs.planned_data import PlannedData
from rnabench.jobs.recipe_cells import attack_id, is_chosen
from rnabench.jobs.recipe_check import check
from rnabench.jobs.reproduce import Place, existing_record, is_there, study_targets, target, trained
from rnabench.jobs.study import finished_study, stale_study
from rnabench.jobs.train import stale_reasons
from rnabench.model.runs import RUN_FILE, read_run
from rnabench.report.staleness import reasons
from rnabench.runtime.device import find_device
from rnabench.runtime.progress import Progress, in_words, with_load
from rnabench.runtime.stopping import StopRequest
from rnabench.seeding import stream
from rnabench.settings.deployment import AS_TRAINED, Deployment
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.imported import IN_RECIPE
from rnabench.settings.recipe import Recipe
from rnabench.settings.studies import Probing
from rnabench.settings.training import TrainingSettings
from rnabench.training.state import State


@dataclass(frozen=True)
class Part:
    """A cell of a model that is attacked: its id, the share of its images that is done, and about how many `seconds`
    are left."""

    id: str
    done: float
    seconds: float


@dataclass(frozen=True)
class Piece:
    """A data set that is missing, a network to train, a model to attack or a study: `state` in words, about how many
    `seconds` are left on an idle machine, and how many beside what else runs on this one `now`; `note` says more.

    `stale`: it is there as older algorithms made it, and kept; the times are those of making it anew. `done` is the
    share of a training that is there; `parts` are the cells of a model that is attacked.
    """

    kind: str
    name: str
    state: str
    seconds: float
    now: float
    stale: bool = False
    note: str = ""
    done: float = 0.0
    parts: tuple[Part, ...] = ()


def forecast(recipe: Recipe, place: Place) -> list[Piece]:
    """Everything in the order in which it is done; at the evaluation's precision, without compiling. Data sets that are
    not there count with their published sizes. Raises as `reproduce` does before it starts."""
    planned = _Forecast(recipe, place)
    check(recipe, place.device, planned.without)
    return list(planned.pieces())


class _Forecast:
    def __init__(self, recipe: Recipe, place: Place) -> None:
        self.recipe, self.place, self.device = recipe, place, find_device(place.device)
        self._speeds: dict[tuple[object, ...], Speed] = {}
        self._imported: dict[tuple[str, str], Adopted] = {}
        self.data = PlannedData(recipe, place, self.device)
        self.without = self.data.without()

    def pieces(self) -> Iterator[Piece]:
        for (name, _), note in self.data.missing.items():
            yield Piece("data", name, "missing", 0.0, 0.0, note=note)
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
            return Piece("train", name, "done", 0.0, 0.0, done=1.0)
        epochs = 0
        if (run / RUN_FILE).exists() and not why and (
                state := State.load(run, str(read_run(run).get("digest")))) is not None:
            epochs = state.epoch
        per_image = self._speed(name, self.recipe.evaluate, AS_TRAINED)
        images = self.data.epoch_images(training)
        seconds = per_image.gradient * training_passes(training, images, training.epochs - epochs)
        if trained(run):
            return self._piece("train", name, why, seconds, per_image.load)
        said = f"{epochs} of {training.epochs} epochs" if epochs else "to do"
        return Piece("train", name, said, seconds, seconds * per_image.load, done=epochs / max(training.epochs, 1))

    def _attacks(self, name: str) -> Piece:
        keys = self.recipe.evaluate
        deployment = self.recipe.deployment_of(name)
        model, classes = self._network(name, keys, deployment)
        random, count = model.space.is_random, self.data.test_images(name, keys).count
        wanted = cells(keys, random) + probes(keys, random, None, replayable(model))
        todo = [(cell, total_images(cell, count)) for cell in wanted
                if is_chosen(self.recipe, name, cell)]
        left, why = list(todo), list[str]()
        if name not in self.without and is_there(self.recipe, self.place, name):
            found = target(self.recipe, self.place, name, keys)
            record = existing_record(found, keys, self.place, name)
            if record is not None and not (why := reasons(record)):
                return Piece("attack", name, "done", 0.0, 0.0, parts=tuple(
                    Part(attack_id(name, cell), 1.0, 0.0) for cell, _ in todo))
            journal = cell_journal(found, keys, self.place.record(name))
            left = [(cell, max(0, total - keys.batch_size * len(journal.batches(cell_name(cell, keys, count)))))
                    for cell, total in todo] if record is None else todo
        per_image = self._speed(name, keys, deployment)
        each = estimate_seconds(Attacker(model, keys, classes), per_image, left)
        parts = tuple(Part(attack_id(name, cell), 1 - images / total, one)
                      for (cell, images), (_, total), one in zip(left, todo, each, strict=True))
        seconds = sum(each)
        if why:
            return replace(self._piece("attack", name, why, seconds, per_image.load), parts=parts)
        done = sum(not images for _, images in left)
        return Piece("attack", name, f"{done} of {len(todo)} cells", seconds, seconds * per_image.load, parts=parts)

    def _study(self, name: str) -> Piece:
        figure = self.recipe.figures[name]
        study, evaluation = figure.study, figure.study.evaluation()
        why: list[str] = []
        if all(model not in self.without and is_there(self.recipe, self.place, model) for model in figure.models):
            targets = study_targets(self.recipe, self.place, name)
            record = finished_study(targets, study, self.place.record(name)) or (
                None if self.place.refresh else stale_study(targets, study, self.place.record(name)))
            if record is not None and not (why := reasons(record)):
                return Piece("study", name, "done", 0.0, 0.0)
        count = self.data.test_images(figure.models[0], evaluation).count
        training = self.data.probe_images(figure.models[0], study) if isinstance(study, Probing) else 0
        seconds = now = 0.0
        for model in figure.models:
            deployment = self.recipe.deployment_of(model)
            network, classes = self._network(model, evaluation, deployment)
            gradients, forwards = study_passes(study, network, len(figure.models), classes, count, training)
            per_image = self._speed(model, evaluation, deployment)
            one = gradients * per_image.gradient + forwards * per_image.forward
            seconds, now = seconds + one, now + one * per_image.load
        if why:
            return self._piece("study", name, why, seconds, now / seconds)
        return Piece("study", name, "to do", seconds, now)

    def _piece(self, kind: str, name: str, why: list[str], seconds: float, load: float) -> Piece:
        """What older algorithms made: to be done only if that is asked for."""
        return Piece(kind, name, f"stale: {'; '.join(why)}", seconds, seconds * load, not self.place.refresh)

    def _network(self, name: str, keys: EvaluationSettings, deployment: Deployment) -> tuple[Classifier, int]:
        """An untrained network like the model's, used so, or the imported one, and how many classes it knows."""
        classes = self.data.test_images(name, keys).classes
        if name in self.recipe.imported:
            if (key := (name, keys.precision)) not in self._imported:
                side = self.data.test_images(name, keys).side
                noise = torch.rand(SEEN, 3, side, side, generator=stream(0, "timing")).to(self.device)
                self._imported[key] = adopt(self.recipe.imported[name], noise, classes, keys.precision, IN_RECIPE)
            return self._imported[key].classifier, classes
        return network_like(self.recipe.models[name], classes, self.device, keys.precision, deployment), classes

    def _speed(self, name: str, keys: EvaluationSettings, deployment: Deployment) -> Speed:
        network = (name,) if name in self.recipe.imported else self.recipe.models[name].network.values()
        key = (*network, keys.precision, *deployment.changes().items())
        if key not in self._speeds:
            model, classes = self._network(name, keys, deployment)
            self._speeds[key] = network_speed(model, self.data.test_images(name, keys).side, keys, classes)
        return self._speeds[key]


def announce(recipe: Recipe, place: Place, jobs: int, progress: Progress, stop: StopRequest) -> None:
    """Say about how long what is left of a recipe takes. Raises as `reproduce` does before it starts, and Stopped: on a
    busy machine even this takes a while."""
    check(recipe, place.device)
    pieces = []
    for piece in _Forecast(recipe, place).pieces():
        if stop:
            raise stop.stopped("before anything was begun")
        pieces.append(piece)
    progress.line(left_in_words(pieces, jobs))


def left_in_words(pieces: Sequence[Piece], jobs: int) -> str:
    """About how long all takes that is not done, for so many processes."""
    todo = [piece for piece in pieces if not piece.stale]
    if all(piece.state == "done" for piece in todo):
        return "left: nothing"
    seconds, now = sum(piece.seconds for piece in todo), sum(piece.now for piece in todo)
    shared = f"; {in_words(seconds / jobs)} if {jobs} processes are as fast as one each" if jobs > 1 else ""
    return f"left: about {with_load(seconds, now)} of one process{shared}"
