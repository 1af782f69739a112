"""Recipes: networks trained from shared settings, one table of them, and figures; all errors at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SerializeAsAny, ValidationError

from rnabench.errors import InvalidSettings, InvalidValue, one_of, unknown
from rnabench.settings.base import Part, problems
from rnabench.settings.datasets import DataSettings
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.recipe_source import KEY, Seeds, by_seed, read_source, settings_and_seeds
from rnabench.settings.spaces import parse_space
from rnabench.settings.studies import STUDIES, Study
from rnabench.settings.training import TrainingSettings

Judge = Callable[[type[Any], Mapping[str, Any], Callable[[str], str]], Any]
"""Values of a kind of part, or None, with its problems noted under the place that a key has in the file."""


class _File(Part):
    """The top level of a recipe file; its parts are judged one by one, so that all errors come at once."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    train: dict[str, Any] = Field({})
    models: dict[Annotated[str, Field(pattern=r"^\w[\w.+\[\]-]{0,63}$")], dict[str, Any]] = Field(min_length=1)
    baseline: str | None = None
    test: dict[str, Any] | None = None
    evaluate: dict[str, Any] = Field({})
    table: list[str] | None = None
    published: str | None = Field(None, pattern=r"^table[1-5]$")
    claims: list[Claim] = Field([])
    figures: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")], dict[str, Any]] = Field({})


class Figure(Part):
    """A study of some of the recipe's models."""

    study: SerializeAsAny[Study]
    models: tuple[str, ...]
    title: str


class Claim(Part):
    """What the paper `says` of its rows: that `attack` leaves the model `higher` more accuracy than each of `lower`."""

    says: str
    higher: str
    lower: tuple[str, ...] = Field(min_length=1)
    attack: str = "pgd20"


class Defined(Part):
    """A network as the recipe defines it, before a profile makes it smaller: what its published numbers go by."""

    dataset: str = "digits"
    arch: str = "resnet18"
    space: str = "bn+in"
    objective: str = "black-box"
    layer_based: bool = False


class Recipe(Part):
    """Networks trained from shared settings, one evaluation of those in `table`, and studies, by the figure's name.

    `models`, `table` and the figures name trainings; `trainings` says which of them are one model of the recipe's:
    itself, or one per seed. `baseline`, `claims` and `defined` name models.

    `test` is the data set to attack on, None for each network's own test images; `baseline` the name of the
    deterministic model that the randomised ones of the table are compared with; `published` the paper's table that
    the table stands beside, and `claims` what it says of the order of the rows. `profile` and `summary` say at what
    scale. `attacks`: run only these of the table (`natural`, `sanity` for the sanity checks' own); None: all.
    """

    name: str
    title: str
    models: dict[str, TrainingSettings]
    baseline: str | None
    test: DataSettings | None
    evaluate: EvaluationSettings
    table: tuple[str, ...]
    figures: dict[str, Figure]
    published: str | None = None
    claims: tuple[Claim, ...] = ()
    profile: str | None = None
    summary: str = ""
    defined: dict[str, Defined] = Field({})
    trainings: dict[str, tuple[str, ...]] = Field({})
    attacks: tuple[str, ...] | None = None

    @property
    def folder(self) -> str:
        """The name of its folder of results."""
        return self.name if self.profile is None else f"{self.name}-{self.profile}"

    @property
    def heading(self) -> str:
        return self.title if self.profile is None else f"{self.title} (profile {self.profile})"

    def model_of(self, training: str) -> str:
        """The model that a training belongs to."""
        return next(model for model, names in self.trainings.items() if training in names)

    def baseline_of(self, training: str) -> str | None:
        """The training of the baseline that a training of another model is judged beside: with the same seed, or else
        the first."""
        names = self.trainings.get(self.baseline or "", ())
        if not names or training in names:
            return None
        return next((name for name in names if self.models[name].seed == self.models[training].seed), names[0])

    def only(self, chosen: str) -> Recipe:
        """The part of it that a comma-separated list names: `table`, figures, `model=NAME` and `attack=NAME` of the
        table; a model's name stands for all its trainings. Raises InvalidValue."""
        groups = ["natural", *(planned.attack.name for planned in self.evaluate.plan())]
        there = {"": [*(["table"] if self.table else []), *self.figures],
                 "model": list(dict.fromkeys([*self.trainings, *self.models])),
                 "attack": list(dict.fromkeys([*groups, *(["sanity"] if self.evaluate.sanity else [])]))
                 if self.table else []}
        wanted: dict[str, list[str]] = {"": [], "model": [], "attack": []}
        for word in (word.strip() for word in chosen.split(",")):
            kind, equals, name = word.partition("=") if word not in there[""] else ("", "", word)
            kind, name = (kind, name) if equals else ("", word)
            names = there.get(kind, [])
            if name not in names:
                every = [*there[""], "model=NAME", *(["attack=NAME"] if self.table else [])]
                shown = names if kind and names else every
                raise InvalidValue("--only", word, one_of(shown), shown)
            wanted[kind] += self.trainings.get(name, (name,)) if kind == "model" else (name,)
        for name in wanted["model"] if wanted["attack"] else ():
            if name not in self.table:
                raise InvalidValue("--only", f"model={name}", f"a model that is attacked, {one_of(self.table)}",
                                   self.table)
        table: tuple[str, ...] = self.table if "table" in wanted[""] or wanted["attack"] else ()
        if wanted["model"]:
            table = tuple(name for name in self.table if name in wanted["model"])
        models = {name for figure in wanted[""] if figure != "table" for name in self.figures[figure].models}
        return self.model_copy(update={
            "table": table,
            "attacks": tuple(wanted["attack"]) or None,
            "models": {name: training for name, training in self.models.items()
                       if name in models or name in table or name in wanted["model"]},
            "figures": {name: figure for name, figure in self.figures.items() if name in wanted[""]}})


def load_recipe(file: Path, profile: str | None = None, data: Mapping[str, Any] | None = None) -> Recipe:
    """Read and check a YAML recipe under a profile, on the data set that `data` (keys of DataSettings) names, if it
    names one. Raises InvalidSettings with a line for every problem, all at once."""
    given = data or {}
    source = read_source(file, profile, given)
    content = source.content
    lines: list[str] = []

    def judge(kind: type[Any], values: Mapping[str, Any], place: Callable[[str], str]) -> Any:
        try:
            return kind.model_validate(values)
        except ValidationError as error:
            lines.extend(f"--{key.replace('_', '-')}: {text}" if key in given else f"{file}: {place(key)}{text}"
                         for key, text in problems(error, kind))
            return None

    judge(_File, content, lambda key: f"{key}: ")
    shared, models, test, evaluate = (
        part if isinstance(part := content.get(key), dict) else {} for key in ("train", "models", "test", "evaluate")
    )
    networks, trainings = {}, {}
    for name, own in models.items():
        own = own if isinstance(own, dict) else {}

        def where(key: str, own: Mapping[str, Any] = own, name: str = name) -> str:
            return f"models.{name}.{key}: " if key.partition(".")[0] in own else f"train.{key}: "

        settings, said = settings_and_seeds(shared, own)
        networks[name], seeds = judge(TrainingSettings, settings, where), judge(Seeds, said, where)
        if own.get(KEY) is not None and "seed" in own:
            lines.append(f"{file}: models.{name}.{KEY}: {own[KEY]!r} is not valid; expected {KEY} or a seed, not both")
        elif networks[name] is not None and seeds is not None:
            trainings[name] = by_seed(name, networks[name], seeds.seeds)
    lines.extend(f"{file}: models.{name}: {name!r} is not valid; expected another name: a training of {model!r} has it"
                 for model, own in trainings.items() for name in own if name != model and name in models)
    data_keys = judge(DataSettings, test, lambda key: f"test.{key}: ") if test else None
    evaluation = judge(EvaluationSettings, evaluate, lambda key: f"evaluate.{key}: ")
    if evaluation is not None:
        try:
            evaluation.plan()
        except InvalidValue as error:
            lines.append(f"{file}: evaluate.{error}")
    baseline = content.get("baseline")
    if isinstance(baseline, str) and baseline not in models:
        lines.append(f"{file}: baseline: {unknown(baseline, models)}")
    table = list(models) if content.get("table") is None else content["table"]
    for name in table if isinstance(table, list) else ():
        if isinstance(name, str) and name not in models:
            lines.append(f"{file}: table: {unknown(name, models)}")
    lines.extend(f"{file}: claims: {line}" for line in _unclaimable(content.get("claims"), models, evaluation))
    if isinstance(table, list) and len({str(name) for name in table}) < len(table):
        lines.append(f"{file}: table: {table!r} is not valid; expected different models")
    if isinstance(table, list) and isinstance(baseline, str) and baseline in models and baseline not in table and table:
        lines.append(f"{file}: baseline: {baseline!r} is not valid; expected a model of the table")
    figures, listed = {}, content.get("figures")
    taken = {*models, "table", "paper", *([suite for suite, _ in evaluation.chosen] if evaluation else [])}
    for name, described in listed.items() if isinstance(listed, dict) else ():
        if isinstance(described, dict):
            figures[name] = _figure(f"{file}: figures.{name}.", described, networks, judge, lines)
            if name in taken:
                lines.append(f"{file}: figures.{name}: {name!r} is not valid; expected a name that no model and no "
                             "suite has: their files lie in one folder")
    if lines:
        raise InvalidSettings("\n".join(dict.fromkeys(lines)))
    for name in models:  # a study is of one network: of several trainings, the first
        if name not in table:
            trainings[name] = dict(list(trainings[name].items())[:1])
    first = {name: next(iter(own)) for name, own in trainings.items()}
    studies = {name: figure.model_copy(update={"models": tuple(first[model] for model in figure.models)})
               for name, figure in figures.items() if figure}
    used = {*(first[name] for name in table), *(name for study in studies.values() for name in study.models)}
    trainings = {name: own for name, own in trainings.items() if first[name] in used}
    return Recipe.model_validate({
        "name": content["name"], "title": content["title"], "baseline": baseline, "test": data_keys,
        "models": {name: training for own in trainings.values() for name, training in own.items()},
        "evaluate": evaluation, "table": [training for name in table for training in trainings[name]],
        "figures": studies, "published": content.get("published"),
        "claims": content.get("claims") or (),
        "profile": source.profile, "summary": source.summary,
        "defined": {name: {key: values[key] for key in Defined.model_fields if key in values}
                    for name, values in source.defined.items() if name in trainings},
        "trainings": {name: tuple(own) for name, own in trainings.items()},
    })


def _unclaimable(claims: Any, models: Mapping[str, Any], evaluation: EvaluationSettings | None) -> Iterator[str]:
    """What is wrong with the names in claims; their form is judged elsewhere."""
    attacks = {attack.name for _, suite in evaluation.chosen for attack in evaluation.attacks_of(suite)
               } if evaluation else set()
    for claim in claims if isinstance(claims, list) else ():
        values = claim if isinstance(claim, dict) else {}
        lower = values.get("lower")
        for name in (values.get("higher"), *(lower if isinstance(lower, list) else ())):
            if isinstance(name, str) and name not in models:
                yield unknown(name, models)
        if attacks and isinstance(attack := values.get("attack", "pgd20"), str) and attack not in attacks:
            yield unknown(attack, sorted(attacks))


def _figure(place: str, described: Mapping[str, Any], models: Mapping[str, TrainingSettings | None], judge: Judge,
            lines: list[str]) -> Figure | None:
    """One entry of `figures`: `study`, `models` (default: all), `title`, and the study's own keys."""
    values = dict(described)
    name, chosen, title = values.pop("study", None), values.pop("models", list(models)), values.pop("title", None)
    if not isinstance(name, str) or name not in STUDIES:
        lines.append(f"{place}study: {unknown(name, STUDIES)}")
        return None
    if not isinstance(title, str | None):
        lines.append(f"{place}title: {title!r} is not valid; expected a text")
    study = judge(STUDIES[name], values, lambda key: f"{place.partition(': ')[2]}{key}: ")
    if not isinstance(chosen, list) or not chosen or len({str(name) for name in chosen}) < len(chosen):
        lines.append(f"{place}models: {chosen!r} is not valid; expected a list of different models")
        return None
    for model in chosen:
        if not isinstance(model, str) or model not in models:
            lines.append(f"{place}models: {unknown(model, models)}")
            return None
    spaces = {model: parse_space(training.space) for model in chosen if (training := models[model]) is not None}
    if study is None or len(spaces) < len(chosen):
        return None
    lines.extend(f"{place}{line}" for line in study.misfits(spaces))
    return Figure(study=study, models=tuple(chosen), title=str(title or name))
