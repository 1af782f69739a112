"""From a recipe's file to the recipe: every part of it is judged, and all that is wrong is told at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from rnabench.errors import MOST_LINES, InvalidSettings, InvalidValue, all_at_once, did_you_mean, not_valid, unknown
from rnabench.reference import paper_of, tables
from rnabench.settings.base import P, Part, problems
from rnabench.settings.datasets import DataSettings
from rnabench.settings.deployment import Deployment
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.file_names import FigureName, ModelName, Slug
from rnabench.settings.imported import Imported, is_imported
from rnabench.settings.recipe import Claim, Figure, Recipe
from rnabench.settings.recipe_source import DEPLOY, KEY, Seeds, by_seed, part, read_source, settings_and_seeds
from rnabench.settings.studies import STUDIES
from rnabench.settings.training import TrainingSettings

Trainings = Mapping[str, Mapping[str, TrainingSettings | Imported]]
"""The trainings of every model by name, or an imported model under its own; none of a model that is wrong."""


class _File(Part):
    """The top level of a recipe file; its parts are judged one by one, so that all errors come at once."""

    name: Slug
    title: str
    train: dict[str, Any] = Field({})
    models: dict[ModelName, dict[str, Any]] = Field(min_length=1)
    baseline: str | None = None
    test: dict[str, Any] | None = None
    evaluate: dict[str, Any] = Field({})
    table: list[str] | None = None
    published: str | None = None
    claims: list[Claim] = Field([])
    figures: dict[FigureName, dict[str, Any]] = Field({})


def load_recipe(file: Path, profile: str | None = None, data: Mapping[str, Any] | None = None) -> Recipe:
    """Read and check a YAML recipe under a profile, on the data set that `data` (keys of DataSettings) names, if it
    names one. Raises InvalidSettings with a line for every problem, all at once."""
    source = read_source(file, profile, data or {})
    content, problems = source.content, Problems(file, data or {})
    problems.judge(_File, content, lambda key: key)
    deployments = _deployments(content, problems)
    found: Trainings = {**_models(content, problems), **_imported(content, problems)}
    models = {name: found[name] if name in deployments else {} for name in part(content, "models")}
    test = part(content, "test")
    attacked = problems.judge(DataSettings, test, lambda key: f"test.{key}") if test else None
    shared = {key: value for key, value in part(content, "train").items() if key in DataSettings.model_fields}
    trained_on = problems.judge(DataSettings, shared, lambda key: f"train.{key}")
    evaluation = _evaluation(content, problems)
    table = list(models) if content.get("table") is None else content["table"]
    _judge_table(table, content.get("baseline"), models, problems)
    _judge_published(content.get("published"), problems)
    _judge_claims(content.get("claims"), models, evaluation, problems)
    figures = _figures(content, models, deployments, evaluation, problems)
    problems.tell()
    # a study is of one network: of several trainings, the first
    first = {name: next(iter(trainings)) for name, trainings in models.items()}
    drawn = {name for figure in figures.values() for name in figure.models}
    named = [training for name, own in models.items() if name in table or name in drawn for training in own.values()]
    teachers = [teacher for training in named if isinstance(training, TrainingSettings)
                for teacher in training.teachers]  # trained, and nothing else
    trainings = {name: own if name in table else {first[name]: own[first[name]]}
                 for name, own in models.items() if name in table or name in drawn or own[first[name]] in teachers}
    every = {name: own for trained in trainings.values() for name, own in trained.items()}
    return Recipe.model_validate({
        "name": content["name"], "title": content["title"], "baseline": content.get("baseline"), "test": attacked,
        "models": {name: own for name, own in every.items() if isinstance(own, TrainingSettings)},
        "imported": {name: own for name, own in every.items() if isinstance(own, Imported)},
        "trained_on": trained_on, "evaluate": evaluation,
        "table": [name for model in table for name in trainings[model]],
        "figures": {name: figure.model_copy(update={"models": tuple(first[model] for model in figure.models)})
                    for name, figure in figures.items()},
        "published": content.get("published"), "claims": content.get("claims") or (), "profile": source.profile,
        "defined": {name: values for name, values in source.defined.items() if name in trainings},
        "summary": source.summary, "trainings": {name: tuple(own) for name, own in trainings.items()},
        "deployments": {name: deployment for name, deployment in deployments.items() if name in trainings},
    })


class Problems:
    """The lines about what is wrong in a recipe, gathered so that all are told at once.

    `given`: the settings that are the command line's, which are named as they are typed there.
    """

    def __init__(self, file: Path, given: Collection[str]) -> None:
        self.file, self.given = file, given
        self.lines: list[str] = []

    def add(self, place: str, text: str) -> None:
        self.lines.append(f"{self.file}: {place}: {text}")

    def judge(self, kind: type[P], values: Mapping[str, Any], place: Callable[[str], str]) -> P | None:
        """The values as a part of that kind, or None (also once there are more problems than are told); `place` says
        where in the file a key stands."""
        if len(set(self.lines)) > MOST_LINES:
            return None
        try:
            return kind.model_validate(values)
        except ValidationError as error:
            for key, text in problems(error, kind):
                if key in self.given:
                    self.lines.append(f"--{key.replace('_', '-')}: {text}")
                else:
                    self.add(place(key), text)
            return None

    def tell(self) -> None:
        """Raises InvalidSettings if there are any."""
        if self.lines:
            raise InvalidSettings(all_at_once(self.lines))


def _imported(content: Mapping[str, Any], problems: Problems) -> dict[str, dict[str, Imported]]:
    """The models that somebody else brings; a relative file of weights lies beside the recipe."""
    models: dict[str, dict[str, Imported]] = {}
    for name, own in part(content, "models").items():
        if not is_imported(own):
            continue
        found = problems.judge(Imported, own, lambda key, name=name: f"models.{name}.{key}")  # type: ignore[misc]
        if found is not None and found.weights is not None:
            file = problems.file.parent / found.weights
            found = found.model_copy(update={"weights": file})
            if not os.path.isfile(file):  # which is false, too, for what cannot be a file's name
                near = did_you_mean(file.name, [other.name for other in file.parent.glob("*") if other.is_file()])
                problems.add(f"models.{name}.weights", f"{not_valid(str(own['weights']))}; expected a file, which is "
                             f"looked for beside the recipe{near}")
        models[name] = {} if found is None else {name: found}
    return models


def _models(content: Mapping[str, Any], problems: Problems) -> Mapping[str, Mapping[str, TrainingSettings]]:
    shared = part(content, "train")
    models = {name: own for name, own in part(content, "models").items() if not is_imported(own)}
    found: dict[str, dict[str, TrainingSettings]] = {}

    def judge(name: str, students: tuple[str, ...] = ()) -> None:
        """After the model that it learns from, of which the first training counts."""
        own = models[name] if isinstance(models[name], dict) else {}
        teacher = {**shared, **own}.get("teacher")
        if teacher is None:
            found[name] = _trainings(name, own, shared, problems)
            return
        learning, others = (*students, name), [other for other in models if other != name]
        found[name] = {}
        if not isinstance(teacher, str) or teacher not in models:
            problems.add(f"models.{name}.teacher", unknown(teacher, others) if others else
                         f"{teacher!r} is not valid; expected another model that is trained here, and there is none")
            return
        if teacher in learning:
            problems.add(f"models.{name}.teacher",
                         f"{teacher!r} is not valid; expected a model that does not learn from {name!r} itself")
            return
        if teacher not in found:
            judge(teacher, learning)
        if found[teacher]:
            settings = next(iter(found[teacher].values()))
            found[name] = _trainings(name, {**own, "teacher": settings}, shared, problems)

    for name in models:
        if name not in found:
            judge(name)
    for model, own in (trainings := {name: found[name] for name in models}).items():
        for name in own:
            if name != model and name in models:
                problems.add(f"models.{name}", f"{name!r} is not valid; expected another name: a training of {model!r} "
                             "has it")
    return trainings


def _trainings(name: str, own: Mapping[str, Any], shared: Mapping[str, Any], problems: Problems
               ) -> dict[str, TrainingSettings]:
    """A model's trainings by name: what it says of its `own` over what is `shared`; none if that is wrong."""
    def place(key: str) -> str:
        return f"models.{name}.{key}" if key.partition(".")[0] in own else f"train.{key}"

    settings, said = settings_and_seeds(shared, {key: value for key, value in own.items() if key != DEPLOY})
    training, seeds = problems.judge(TrainingSettings, settings, place), problems.judge(Seeds, said, place)
    if own.get(KEY) is not None and "seed" in own:
        problems.add(f"models.{name}.{KEY}", f"{not_valid(own[KEY])}; expected {KEY} or a seed, not both")
        return {}
    return {} if training is None or seeds is None else by_seed(name, training, seeds.seeds)


def _deployments(content: Mapping[str, Any], problems: Problems) -> dict[str, Deployment]:
    """How the models are used; without those that say it wrongly."""
    found = {name: _deployment(f"models.{name}.{DEPLOY}", own.get(DEPLOY) if isinstance(own, dict) else None, problems)
             for name, own in part(content, "models").items()}
    return {name: deployment for name, deployment in found.items() if deployment is not None}


def _deployment(place: str, said: Any, problems: Problems) -> Deployment | None:
    if not isinstance(said, dict | None):
        problems.add(place, f"{not_valid(said)}; expected keys and values, such as {{statistics: batch}}")
        return None
    return problems.judge(Deployment, said or {}, lambda key: f"{place}.{key}")


def _evaluation(content: Mapping[str, Any], problems: Problems) -> EvaluationSettings | None:
    evaluation = problems.judge(EvaluationSettings, part(content, "evaluate"), lambda key: f"evaluate.{key}")
    try:
        for entry in evaluation.entries() if evaluation is not None else ():
            if entry.attack.transferred:
                raise InvalidValue("attack", entry.attack.name, "`rnabench attack --transfer-from RUN` for it (a "
                                                                "recipe names no other network)")
    except InvalidValue as error:
        problems.lines.append(f"{problems.file}: evaluate.{error}")
    return evaluation


def _judge_table(table: Any, baseline: Any, models: Trainings, problems: Problems) -> None:
    """The names of models in it, and the baseline's; the form is judged elsewhere."""
    is_named = isinstance(baseline, str)
    if is_named and baseline not in models:
        problems.add("baseline", unknown(baseline, models))
    if not isinstance(table, list):
        return
    for name in [name for name in table if isinstance(name, str) and name not in models][:MOST_LINES + 1]:
        problems.add("table", unknown(name, models))
    if len({str(name) for name in table}) < len(table):
        problems.add("table", f"{not_valid(table)}; expected different models")
    if table and is_named and baseline in models and baseline not in table:
        problems.add("baseline", f"{baseline!r} is not valid; expected a model of the table")


def _judge_published(published: Any, problems: Problems) -> None:
    """The names of papers' tables; the form is judged elsewhere."""
    names, known = published.split("+") if isinstance(published, str) else [], tables()
    for name in names:
        if name not in known:
            problems.add("published", unknown(name, known))
    if len({paper_of(name).file for name in names if name in known}) > 1:
        problems.add("published", f"{not_valid(published)}; expected tables of one paper")


def _judge_claims(claims: Any, models: Trainings, evaluation: EvaluationSettings | None, problems: Problems) -> None:
    """The names of models and attacks in claims; the form is judged elsewhere."""
    attacks = {"natural", *(attack.name for _, suite in evaluation.chosen for attack in evaluation.attacks_of(suite))
               } if evaluation else set()
    for claim in claims if isinstance(claims, list) else ():
        values = claim if isinstance(claim, dict) else {}
        lower = values.get("lower")
        for name in (values.get("higher"), *(lower if isinstance(lower, list) else ())):
            if isinstance(name, str) and name not in models:
                problems.add("claims", unknown(name, models))
        if attacks and isinstance(attack := values.get("attack", "pgd20"), str) and attack not in attacks:
            problems.add("claims", unknown(attack, sorted(attacks)))


def _figures(content: Mapping[str, Any], models: Trainings, deployments: Mapping[str, Deployment],
             evaluation: EvaluationSettings | None, problems: Problems) -> dict[str, Figure]:
    """The entries of `figures` that can be drawn."""
    taken = {*models, "table", "paper", *([suite for suite, _ in evaluation.chosen] if evaluation else [])}
    figures = {}
    for name, described in part(content, "figures").items():
        if not isinstance(described, dict):
            continue
        if figure := _figure(f"figures.{name}", described, models, deployments, problems):
            figures[name] = figure
        if name in taken:
            problems.add(f"figures.{name}", f"{name!r} is not valid; expected a name that no model and no suite has: "
                         "their files lie in one folder")
    return figures


def _figure(place: str, described: Mapping[str, Any], models: Trainings, deployments: Mapping[str, Deployment],
            problems: Problems) -> Figure | None:
    """One entry of `figures`: `study`, `models` (default: all), `title`, and the study's own settings."""
    values = dict(described)
    kind, chosen, title = values.pop("study", None), values.pop("models", list(models)), values.pop("title", None)
    if not isinstance(kind, str) or kind not in STUDIES:
        problems.add(f"{place}.study", unknown(kind, STUDIES))
        return None
    if not isinstance(title, str | None):
        problems.add(f"{place}.title", f"{not_valid(title)}; expected a text")
    study = problems.judge(STUDIES[kind], values, lambda key: f"{place}.{key}")
    if not isinstance(chosen, list) or not chosen or len({str(name) for name in chosen}) < len(chosen):
        problems.add(f"{place}.models", f"{not_valid(chosen)}; expected a list of different models")
        return None
    for name in chosen:
        if not isinstance(name, str) or name not in models:
            problems.add(f"{place}.models", unknown(name, models))
            return None
    if study is None or not all(models[name] for name in chosen):
        return None
    first = {name: next(iter(models[name].values())) for name in chosen}
    options = {name: own.options * len(deployments[name].sources) if isinstance(own, TrainingSettings) else
               2 if study.of_paths else 1 for name, own in first.items()}  # an imported network is judged once it is
    for line in study.misfits(options):
        problems.lines.append(f"{problems.file}: {place}.{line}")
    return Figure(study=study, models=tuple(chosen), title=str(title or kind))
