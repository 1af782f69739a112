"""Everything that a recipe names: train its networks (once), attack them, study them, collect the records."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnabench.errors import Busy, RnabenchError
from rnabench.evaluation.cells import Cell
from rnabench.jobs.evaluate import attack_some, beside_baseline, finished, identity, stale
from rnabench.jobs.foreign import foreign_for_study
from rnabench.jobs.images import from_elsewhere
from rnabench.jobs.recipe_cells import is_chosen
from rnabench.jobs.recipe_check import check, imported_target, tested_on
from rnabench.jobs.study import load_for_study, run_study, stale_study
from rnabench.jobs.target import Target, load_run
from rnabench.jobs.train import run_name, stale_reasons, train
from rnabench.model.runs import RUN_FILE, read_run
from rnabench.report.origin import taken_over
from rnabench.report.record import Record
from rnabench.report.record_file import read_record, read_study, write_record
from rnabench.report.scores import judged
from rnabench.report.staleness import own_reasons, reasons
from rnabench.report.study_record import AnyRecord
from rnabench.runtime.device import find_device, visible_gpus
from rnabench.runtime.environment import now
from rnabench.runtime.locks import check_locks, coming_back
from rnabench.runtime.progress import Named, Progress
from rnabench.runtime.stopping import StopRequest
from rnabench.runtime.workers import Task, run_in_workers
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.imported import IN_RECIPE
from rnabench.settings.recipe import Recipe
from rnabench.settings.training import TrainingSettings

POLL_SECONDS, LONGEST_PAUSE = 1.0, 16.0  # between two attempts at what other processes have claimed
HEAD = 200  # characters of a record's file, in which its digest is


@dataclass(frozen=True)
class Place:
    """Where things lie: networks in `runs`, in folders named by what they are, so that recipes share them; records as
    `folder`/<model>.json and `folder`/<figure>.json. With `refresh`, what older algorithms made
    is made anew instead of kept. The loggers of `log` are told of trainings and attacks."""

    runs: Path
    folder: Path
    device: str
    refresh: bool = False
    log: tuple[str, ...] = ()

    def run(self, training: TrainingSettings) -> Path:
        return self.runs / run_name(training)

    def has(self, training: TrainingSettings) -> bool:
        """Whether there is a finished network, of today's algorithms if those are asked for."""
        run = self.run(training)
        return trained(run) and not (self.refresh and stale_reasons(read_run(run)))

    def record(self, name: str) -> Path:
        return self.folder / f"{name}.json"


@dataclass(frozen=True)
class Reproduced:
    """Records: of each model of the table, by its name in the recipe, and of each figure's study, by the figure's.

    `missing`: models of the table with attacks still to be run; the table is empty then.
    """

    table: dict[str, Record]
    figures: dict[str, dict[str, Any]]
    missing: tuple[str, ...]


def reproduce(recipe: Recipe, chosen: Recipe, place: Place, progress: Progress, stop: StopRequest, jobs: int = 1,
              elsewhere: Callable[[Recipe, Place, int, Progress, StopRequest], None] | None = None) -> Reproduced:
    """Do what is `chosen` of the recipe (`Recipe.only`), with `jobs` processes, and collect what there is of it all.
    `elsewhere` does it in the place of `side_by_side` (`jobs.cluster`).

    Other processes may work on the same recipe in the same folders: nothing is done twice. Raises Stopped, and the
    errors of training, evaluation and studies.
    """
    check(recipe, place.device)
    for folder in (place.runs, place.folder):
        check_locks(folder, progress, alone=jobs == 1 and elsewhere is None)
    started = now()
    if place.refresh:
        for name, why in _stale(chosen, place):
            progress.line(f"{name}: stale ({'; '.join(why)}): made anew")
    (elsewhere or side_by_side)(chosen, place, jobs, progress, stop)
    records: dict[str, Record] = {}
    missing = []
    for name in recipe.table if chosen.table else ():
        record = _record(recipe, place, name)
        if record is None:
            missing.append(name)
        else:
            records[name] = record
    if not missing:
        for name, record in records.items():
            if own_reasons(record):
                continue  # a stale record is kept as it is
            if (baseline := recipe.baseline_of(name)) is not None:
                records[name] = beside_baseline(record, records[baseline], place.record(name))
            else:
                write_record(record, place.record(name))
    figures = {name: _study(chosen, place, name, progress, stop) for name in chosen.figures}
    everything: dict[str, AnyRecord] = {**records, **figures}
    for name, each in everything.items():
        if (why := reasons(each)) and not place.refresh:
            progress.line(f"{name}: stale ({'; '.join(why)}), and kept: --refresh makes it anew")
        if said := taken_over(each, started, str(find_device(place.device))):
            progress.line(f"{name}: {said}")
    return Reproduced({} if missing else records, figures, tuple(missing))


def _stale(recipe: Recipe, place: Place) -> Iterator[tuple[str, list[str]]]:
    """The networks and the records that other algorithms made, and how those differ."""
    for run in dict.fromkeys(map(place.run, recipe.models.values())):
        if trained(run) and (why := stale_reasons(read_run(run))):
            yield run.name, why
    for name in (*recipe.table, *recipe.figures):
        file = place.record(name)
        with suppress(RnabenchError):
            if why := reasons(read_study(file) if name in recipe.figures else read_record(file)):
                yield name, why


def side_by_side(chosen: Recipe, place: Place, jobs: int, progress: Progress, stop: StopRequest) -> None:
    """Do everything, with `jobs` processes on this machine and by turns on its GPUs."""
    tasks = [Task(f"job {number + 1}", work, (chosen, place)) for number in range(jobs)]
    gpus = visible_gpus() if place.device in ("auto", "cuda") else []
    run_in_workers(tasks, jobs, progress, stop, gpus if len(gpus) > 1 else [])


def work(recipe: Recipe, place: Place, progress: Progress, stop: StopRequest) -> None:
    """Train, attack and study until nothing is left. What other processes have claimed is theirs: it is waited for."""
    once = {place.run(training): training for training in recipe.models.values()}  # two names may mean one network
    left: list[tuple[str, Callable[[], object]]] = [
        *((run.name, lambda training=training: _train(training, place, progress, stop))
          for run, training in once.items()),
        *((name, lambda name=name: _attack(recipe, place, name, progress, stop)) for name in recipe.table),
        *((name, lambda name=name: _study(recipe, place, name, progress, stop)) for name in recipe.figures),
    ]
    pause = POLL_SECONDS
    while left:
        waiting: list[tuple[str, Callable[[], object]]] = []
        for name, unit in left:
            started = time.monotonic()
            try:
                with coming_back():
                    unit()
            except Busy as busy:
                waiting.append((name, unit))
                reason = str(busy)
            if time.monotonic() - started > LONGEST_PAUSE:
                pause = POLL_SECONDS  # so long it did some of the work itself
            if stop and waiting:
                raise stop.stopped("other processes work on the rest")
        if len(waiting) == len(left):
            if pause == POLL_SECONDS:
                progress.line(f"waiting: {reason}")
            _sleep(pause, stop)
            pause = min(2 * pause, LONGEST_PAUSE)
        left = waiting


def _sleep(seconds: float, stop: StopRequest) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stop:
        time.sleep(0.2)


def _train(training: TrainingSettings, place: Place, progress: Progress, stop: StopRequest) -> None:
    if training.teacher is not None and not place.has(training.teacher):
        raise Busy(f"{place.run(training.teacher).name}, a teacher, is not trained yet")
    train(training, place.run(training), progress, stop, place.device, place.refresh, log=place.log)


def trained(run: Path) -> bool:
    """Whether the run folder holds a finished network."""
    return (run / RUN_FILE).exists() and read_run(run).get("status") == "finished"


def target(recipe: Recipe, place: Place, name: str, keys: EvaluationSettings) -> Target:
    """A model of the recipe on its test images. Raises Busy while it is not trained."""
    if name in recipe.imported:
        return imported_target(recipe, name, keys, place.device)
    return load_run(_run_of(recipe, place, name), _data(recipe, name), keys, place.device, label=name,
                    method=recipe.model_of(name), deployment=recipe.deployment_of(name))


def study_targets(recipe: Recipe, place: Place, figure: str) -> list[Target]:
    """The models of a figure on the images of its study. Raises Busy while one is not trained."""
    study = recipe.figures[figure].study

    def found(name: str) -> Target:
        if name in recipe.imported:
            return foreign_for_study(recipe.imported[name], tested_on(recipe, name), study, place.device, name,
                                     IN_RECIPE)
        return load_for_study(_run_of(recipe, place, name), _data(recipe, name), study, place.device, label=name,
                              method=recipe.model_of(name), deployment=recipe.deployment_of(name))
    return [found(name) for name in recipe.figures[figure].models]


def is_there(recipe: Recipe, place: Place, name: str) -> bool:
    """Whether a model of the recipe can be attacked: it is imported, or trained already."""
    return name in recipe.imported or place.has(recipe.models[name])


def _data(recipe: Recipe, name: str) -> dict[str, Any]:
    """Where its test images lie today: the run may have been trained elsewhere."""
    return tested_on(recipe, name).model_dump()


def _run_of(recipe: Recipe, place: Place, name: str) -> Path:
    training = recipe.models[name]
    if not place.has(training):
        raise Busy(f"{name} is not trained yet")
    return place.run(training)


def _attack(recipe: Recipe, place: Place, name: str, progress: Progress, stop: StopRequest) -> None:
    network = target(recipe, place, name, recipe.evaluate)

    def chosen(cell: Cell) -> bool:
        return is_chosen(recipe, name, cell)

    if existing_record(network, recipe.evaluate, place, name) is None:
        attack_some(network, recipe.evaluate, place.record(name), chosen, Named(name, progress), stop,
                    log=place.log)


def existing_record(network: Target, keys: EvaluationSettings, place: Place, name: str) -> Record | None:
    """The finished record of a model: this recipe's, or one of another recipe whose folder lies beside, under whatever
    name that has for it (recipes share records as they share networks).

    If there is none, the model's own stale record, unless such are to be made anew."""
    own = place.record(name)
    if (record := finished(network, keys, own)) is not None:
        return record
    for file in sorted(place.folder.parent.glob("*/*.json")):
        with suppress(OSError, RnabenchError):
            with file.open(encoding="utf-8", errors="replace") as opened:
                head = opened.read(HEAD)
            if identity(network, keys) in head and (record := finished(network, keys, file)) is not None:
                return judged(from_elsewhere(record, file, place.folder).model_copy(update={"baseline": None}))
    return None if place.refresh else stale(network, keys, own)


def _record(recipe: Recipe, place: Place, name: str) -> Record | None:
    """The finished record of a model of the table."""
    if not is_there(recipe, place, name):
        return None
    return existing_record(target(recipe, place, name, recipe.evaluate), recipe.evaluate, place, name)


def _study(recipe: Recipe, place: Place, name: str, progress: Progress, stop: StopRequest) -> dict[str, Any]:
    study, targets = recipe.figures[name].study, study_targets(recipe, place, name)
    if not place.refresh and (old := stale_study(targets, study, place.record(name))) is not None:
        return old
    return run_study(targets, study, place.record(name), Named(name, progress), stop)
