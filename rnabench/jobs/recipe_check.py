"""What can be known to be wrong with a recipe before the first training."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch

from rnabench.data.sources import EvaluationData
from rnabench.defence.foreign import Classifier
from rnabench.defence.importing import import_model
from rnabench.errors import InvalidValue, RnabenchError
from rnabench.evaluation.attacker import check_plan
from rnabench.evaluation.cells import check_protocols
from rnabench.jobs.foreign import check_imported, load_foreign
from rnabench.jobs.study import with_training
from rnabench.jobs.target import Target, attacked_data, open_data
from rnabench.jobs.teacher import check_teacher
from rnabench.model.deployment import deploy
from rnabench.model.factory import build_model
from rnabench.runtime.device import check_precision, find_device
from rnabench.settings.datasets import DataSettings
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.imported import IN_RECIPE
from rnabench.settings.recipe import Recipe
from rnabench.settings.studies import Attacking, Probing, Splitting
from rnabench.studies.measure.subject import subjects
from rnabench.training.objective import check_network


def check(recipe: Recipe, device: str, without: Collection[str] = ()) -> None:
    """Raise what can be known before the first training: every network can be built or imported, all test images are
    there, draws can be frozen where a protocol asks for it, and every study has its paths and can attack. Models
    `without` test images are not checked for these."""
    torch_device = find_device(device)
    check_precision(recipe.evaluate.precision, torch_device)
    networks: dict[str, Classifier] = {}
    for name, training in recipe.models.items():
        with _named(f"models.{name}"):
            check_precision(training.precision, torch_device)
            with torch.device("meta"):
                built = build_model(**training.network)
                check_network(training, built)
                networks[name] = deploy(built, recipe.deployment_of(name),
                                        f"{training.arch} with space {training.space}")
            if training.teacher is not None:
                check_teacher(training.teacher)
            if name not in without:
                images(recipe, name, recipe.evaluate, torch_device)
    for name, imported in recipe.imported.items():
        with _named(f"models.{name}"):
            if name in without:
                import_model(imported, IN_RECIPE)
                continue
            target = imported_target(recipe, name, recipe.evaluate, device)
            assert isinstance(target.module, Classifier)
            networks[name] = target.module
            if name in recipe.table:
                check_protocols(recipe.evaluate, target.defence, name)
    for title, figure in recipe.figures.items():
        with _named(f"figures.{title}"):
            evaluation = figure.study.evaluation()
            check_precision(evaluation.precision, torch_device)
            chosen = [(model, networks[model]) for model in figure.models if model in networks]
            for model, network in chosen:
                figure.study.check_network(model, network)
                if model in recipe.imported:
                    check_imported(figure.study, model)
            if isinstance(figure.study, Splitting):
                subjects(chosen, figure.study.paths, figure.study.seed)
            if any(model in without for model in figure.models):
                continue
            data = {model: images(recipe, model, evaluation, torch_device) for model in figure.models}
            if len({each.fingerprint for each in data.values()}) > 1:
                raise InvalidValue("models", list(figure.models), "models on the same images; `test` says which")
            if isinstance(figure.study, Probing):
                first = figure.models[0]
                with_training(figure.study, tested_on(recipe, first), data[first], torch_device)
            if isinstance(figure.study, Attacking):
                check_plan(evaluation, [(spec, 0) for spec in figure.study.specs], False,
                           len(data[figure.models[0]].classes))


def images(recipe: Recipe, model: str, evaluation: EvaluationSettings, device: torch.device) -> EvaluationData:
    """The test images that a model of the recipe is attacked on."""
    return open_data(tested_on(recipe, model), evaluation, device)


def tested_on(recipe: Recipe, model: str) -> DataSettings:
    """The data set that a model of the recipe is attacked on."""
    own = recipe.trained_on if model in recipe.imported else recipe.models[model]
    return attacked_data(own.model_dump(), recipe.test.model_dump() if recipe.test else {})


def imported_target(recipe: Recipe, name: str, evaluation: EvaluationSettings, device: str) -> Target:
    """An imported model of the recipe on its test images."""
    return load_foreign(recipe.imported[name], tested_on(recipe, name), evaluation, device, name, IN_RECIPE)


@contextmanager
def _named(place: str) -> Iterator[None]:
    try:
        yield
    except RnabenchError as error:
        raise RnabenchError(f"{place}: {error}") from error
