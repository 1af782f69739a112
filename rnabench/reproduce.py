"""Everything that a recipe names: train its networks (once), attack them, study them, collect the records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rnabench.benchmark import attack, attacked_data, beside_baseline, load_run, open_data
from rnabench.data.sources import EvaluationData
from rnabench.device import find_device
from rnabench.errors import InvalidValue, RnabenchError
from rnabench.evaluation.attacker import check_plan
from rnabench.model.factory import build_model
from rnabench.plan import EvaluationKeys
from rnabench.progress import Progress
from rnabench.recipe import TrainRecipe
from rnabench.recipe_file import Recipe
from rnabench.report.record import write_record
from rnabench.side_by_side import Task, side_by_side
from rnabench.stopping import StopRequest
from rnabench.study import run_study
from rnabench.study_plan import Attacking
from rnabench.training.run import run_name, train


@dataclass(frozen=True)
class Reproduced:
    """Records: of each model of the table, by its name in the recipe, and of each figure's study, by the figure's."""

    table: dict[str, dict[str, Any]]
    figures: dict[str, dict[str, Any]]


def reproduce(recipe: Recipe, runs: Path, folder: Path, progress: Progress, stop: StopRequest, device: str,
              jobs: int = 1) -> Reproduced:
    """Networks live in `runs`, in folders named by what they are, so that recipes share them; the records are
    `folder`/<model>.json and `folder`/<figure>.json. Up to `jobs` networks are trained, attacked or studied at a time.

    Raises Stopped, and the errors of training, evaluation and studies.
    """
    _check(recipe, device)
    wanted = {*recipe.table, *(name for figure in recipe.figures.values() for name in figure.models)}
    trained = {name: runs / run_name(training) for name, training in recipe.models.items() if name in wanted}
    once = {run: name for name, run in trained.items()}  # two names may mean the same network
    side_by_side([Task(name, _train, (recipe.models[name], run, device)) for run, name in once.items()],
                 jobs, progress, stop)
    attacks = [Task(name, _attack, (recipe, trained[name], name, folder, device)) for name in recipe.table]
    studies = [Task(name, _study, (recipe, trained, name, folder, device)) for name in recipe.figures]
    found = side_by_side([*attacks, *studies], jobs, progress, stop)
    records = {name: found[name] for name in recipe.table}
    for name, record in records.items():
        if recipe.baseline is not None and name != recipe.baseline:
            records[name] = beside_baseline(record, records[recipe.baseline], folder / f"{name}.json")
        else:
            write_record(record, folder / f"{name}.json")
    return Reproduced(records, {name: found[name] for name in recipe.figures})


def _train(training: TrainRecipe, run: Path, device: str, progress: Progress, stop: StopRequest) -> None:
    progress.line(f"{training.space}: {training.objective} training")
    train(training, run, progress, stop, device)


def _attack(recipe: Recipe, run: Path, name: str, folder: Path, device: str, progress: Progress, stop: StopRequest
            ) -> dict[str, Any]:
    target = load_run(run, _test_data(recipe), recipe.evaluate, device, label=name)
    progress.line(f"{name}: attacks on {target.data.name}, {len(target.data.source):,} images")
    return attack(target, recipe.evaluate, folder / f"{name}.json", progress, stop)


def _study(recipe: Recipe, trained: dict[str, Path], name: str, folder: Path, device: str, progress: Progress,
           stop: StopRequest) -> dict[str, Any]:
    figure = recipe.figures[name]
    progress.line(f"{name}: {figure.study.kind} of {', '.join(figure.models)}")
    evaluation = figure.study.evaluation()
    targets = [load_run(trained[model], _test_data(recipe), evaluation, device, label=model) for model in figure.models]
    return run_study(targets, figure.study, folder / f"{name}.json", progress, stop)


def _test_data(recipe: Recipe) -> dict[str, Any]:
    return recipe.test.model_dump() if recipe.test else {}


def _check(recipe: Recipe, device: str) -> None:
    """Fail before the first training, not after: every network can be built, all test images are there, and every study
    can attack."""
    found = find_device(device)
    for name, training in recipe.models.items():
        with _named(f"models.{name}"):
            with torch.device("meta"):
                build_model(training.arch, training.space, 10, training.width, layer_based=training.layer_based)
            _images(recipe, name, recipe.evaluate, found)
    for name, figure in recipe.figures.items():
        with _named(f"figures.{name}"):
            evaluation = figure.study.evaluation()
            data = {model: _images(recipe, model, evaluation, found) for model in figure.models}
            if len({each.fingerprint for each in data.values()}) > 1:
                raise InvalidValue("models", list(figure.models), "models on the same images; `test` says which")
            if isinstance(figure.study, Attacking):
                check_plan(evaluation, [(figure.study.spec, 0)], False, len(data[figure.models[0]].classes))


def _images(recipe: Recipe, model: str, evaluation: EvaluationKeys, device: torch.device) -> EvaluationData:
    return open_data(attacked_data(recipe.models[model].model_dump(), _test_data(recipe)), evaluation, device)


@contextmanager
def _named(place: str) -> Iterator[None]:
    try:
        yield
    except RnabenchError as error:
        raise RnabenchError(f"{place}: {error}") from error
