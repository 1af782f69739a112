"""Recipes: networks trained from shared settings, one table of them, and figures."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator

from rnabench.errors import InvalidValue, one_of
from rnabench.settings.architectures import USUAL_SPACE, spelled_space
from rnabench.settings.base import Part
from rnabench.settings.datasets import DataSettings
from rnabench.settings.deployment import AS_TRAINED, Deployment
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.imported import Imported
from rnabench.settings.parts import NONE, RELU
from rnabench.settings.studies import Study
from rnabench.settings.training import TrainingSettings


class Figure(Part):
    """A study of some of the recipe's models."""

    study: SerializeAsAny[Study]
    models: tuple[str, ...]
    title: str


class Claim(Part):
    """What a paper `says` of its rows: that `attack` leaves the model `higher` more accuracy than each of `lower`;
    `natural` is none, and natural accuracy is compared."""

    says: str
    higher: str
    lower: tuple[str, ...] = Field(min_length=1)
    attack: str = "pgd20"


class Defined(Part):
    """A network as the recipe defines it, before a profile makes it smaller: what its published numbers go by.

    `dataset` is what results call it; `orthogonality` and `teacher` are what objective `sors` goes by, `operators` how
    many a layer chooses from, where that is not its architecture's number, and `deploy` how the network is used. The
    other names are those of the settings of training.
    """

    dataset: str = "digits"
    arch: str = "resnet18"
    space: str = Field(USUAL_SPACE, validate_default=True)
    objective: str = "black-box"
    layer_based: bool = False
    operators: int | None = None
    activation: str = RELU
    denoise: str = NONE
    denoise_at: str = "stages"
    defence: str = NONE
    smooth_gradient: str = "none"
    orthogonality: float = 10
    teacher: str | None = None
    deploy: Deployment = AS_TRAINED

    @field_validator("space")
    @classmethod
    def _space(cls, value: str, info: ValidationInfo) -> str:
        return spelled_space(info.data["arch"], value) if value == USUAL_SPACE else value


class Recipe(Part):
    """Networks trained from shared settings, one evaluation of those in `table`, and studies, by the figure's name.

    `models` are trainings, and `imported` networks that somebody else brings; `table` and the figures name either.
    `trainings` says which of them are one model of the recipe's: itself, or one per seed. `baseline`, `claims` and
    `defined` (of trained ones) name models, and so does `deployments`, which says how some are used at inference.

    `test` is the data set to attack on, None for each network's own test images, which of imported ones are those of
    `trained_on`, the data set of most trainings; `baseline` the name of the
    deterministic model that the randomised ones of the table are compared with; `published` the paper's table (or
    several joined by `+`) that the table stands beside, and `claims` what it says of the order of the rows. `profile`
    and `summary` say at what scale. Of the table, only these `attacks` are run (`natural`, `sanity` for the sanity
    checks' own), or only these `cells`, by their ids; None: all.
    """

    name: str
    title: str
    models: dict[str, TrainingSettings]
    imported: dict[str, Imported] = Field({})
    trained_on: DataSettings = Field(default_factory=DataSettings)  # which loads the data sets: not at import
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
    deployments: dict[str, Deployment] = Field({})
    attacks: tuple[str, ...] | None = None
    cells: tuple[str, ...] | None = None

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

    def deployment_of(self, training: str) -> Deployment:
        """How the network of a training is used."""
        return self.deployments.get(self.model_of(training), AS_TRAINED)

    def baseline_of(self, training: str) -> str | None:
        """The training of the baseline that a training of another model is judged beside: with the same seed, or else
        the first."""
        names = self.trainings.get(self.baseline or "", ())
        if not names or training in names:
            return None
        seeds = {name: settings.seed for name, settings in self.models.items()}  # an imported network has none
        return next((name for name in names if training in seeds and seeds.get(name) == seeds[training]), names[0])

    def with_teachers(self, trainings: Mapping[str, TrainingSettings]) -> dict[str, TrainingSettings]:
        """These trainings and those that they learn from, in the recipe's order."""
        teachers = {teacher for training in trainings.values() for teacher in training.teachers}
        return {name: training for name, training in self.models.items() if name in trainings or training in teachers}

    def only(self, chosen: str) -> Recipe:
        """The part of it that a comma-separated list names: `table`, figures, `model=NAME` and `attack=NAME` of the
        table; a model's name stands for all its trainings. Raises InvalidValue."""
        groups = ["natural", *(entry.attack.name for entry in self.evaluate.entries())]
        there = {"": [*(["table"] if self.table else []), *self.figures],
                 "model": list(dict.fromkeys([*self.trainings, *self.models, *self.imported])),
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
        return self.part(table, wanted[""], wanted["model"], attacks=tuple(wanted["attack"]) or None)

    def part(self, table: tuple[str, ...], figures: Collection[str], models: Collection[str] = (),
             attacks: tuple[str, ...] | None = None, cells: tuple[str, ...] | None = None) -> Recipe:
        """Only these of it, with the networks that they need, and `models` besides."""
        chosen = {name: figure for name, figure in self.figures.items() if name in figures}
        named = {*models, *table, *(name for figure in chosen.values() for name in figure.models)}
        return self.model_copy(update={
            "table": table, "attacks": attacks, "cells": cells, "figures": chosen,
            "models": self.with_teachers({name: own for name, own in self.models.items() if name in named}),
            "imported": {name: own for name, own in self.imported.items() if name in named}})
