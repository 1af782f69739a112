"""What may stand under `train`, `evaluate`, a model and a figure of a recipe: made of the typed settings."""

from __future__ import annotations

from typing import Any

import checkout  # noqa: F401
from text import cell, table

from rnabench.settings.base import Part
from rnabench.settings.datasets import DataSettings
from rnabench.settings.deployment import Deployment
from rnabench.settings.evaluation import EvaluationSettings, OwnSuite
from rnabench.settings.imported import Imported
from rnabench.settings.pixels import written
from rnabench.settings.recipe import Claim
from rnabench.settings.recipe_source import Profile
from rnabench.settings.studies import STUDIES, Study
from rnabench.settings.training import TrainingSettings

INTRODUCTION = """# Settings of a recipe

All that a recipe may say, as the program itself declares it. The same names are options of `rnabench train`, `attack`
and the studies, with `-` in the place of `_`. Sizes of changes (`eps`, `step_size`) are `8/255` or a decimal.
How the parts stand together is told in [Keys of a recipe](recipes.md).
"""
LENGTHS = ("eps", "step_size")


def page() -> str:
    parts = [INTRODUCTION]
    for heading, kind, without in (
            ("`train`, and each of `models`: the training", TrainingSettings, Part),
            ("`test`: the data set that is attacked, if it is another", DataSettings, Part),
            ("A model that is imported", Imported, Part),
            ("`deploy` of a model: how its network is used", Deployment, Part),
            ("`evaluate`: attacks and scores", EvaluationSettings, Part),
            ("`evaluate: suites`: suites of one's own", OwnSuite, Part),
            ("`claims`: what is held against the records", Claim, Part),
            ("`profiles`: what each changes", Profile, Part),
            ("`figures`: what all studies share", Study, Part)):
        parts += [f"## {heading}", fields(kind, without)]
    for name, study in STUDIES.items():
        parts += [f"### study: {name}", cell(" ".join((study.__doc__ or "").split("\n\n")[0].split())),
                  fields(study, Study)]
    return "\n\n".join(parts) + "\n"


def fields(kind: type[Part], without: type[Part]) -> str:
    """A row per field that `without` does not have."""
    rows = [(f"`{field.alias or name}`", cell(field.description or kind_of(field.annotation)), default(name, field))
            for name, field in kind.model_fields.items() if name not in without.model_fields]
    return table(("key", "meaning", "default"), rows) if rows else "It has no settings of its own."


def kind_of(annotation: Any) -> str:
    """What a field without a description holds, in a recipe's words."""
    text = str(annotation).replace("typing.", "")
    return next((words for begins, words in (("dict", "keys and values"), ("tuple", "a list"), ("list", "a list"),
                                             ("<class 'str'", "a text")) if begins in text), "a value")


def default(name: str, field: Any) -> str:
    if field.is_required():
        return "none: it must be said"
    value = field.get_default(call_default_factory=True)
    none = (field.json_schema_extra or {}).get("none")
    if value is None or value in ({}, (), [], ""):
        return cell(none or "none")
    if isinstance(value, bool):
        return str(value).lower()
    if name in LENGTHS:
        return written(value)
    return cell(", ".join(map(str, value)) if isinstance(value, tuple) else str(value))
