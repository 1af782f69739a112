"""Recipe files: networks trained from shared settings, one evaluation of all; YAML in, all errors at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from rnabench.errors import InvalidRecipe, RnabenchError, did_you_mean, one_of
from rnabench.plan import EvaluationKeys
from rnabench.recipe import DataKeys, P, Part, TrainRecipe, problems


class _File(Part):
    """The top level of a recipe file; its parts are judged one by one, so that all errors come at once."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    train: dict[str, Any] = Field({})
    models: dict[Annotated[str, Field(pattern=r"^\w[\w.+\[\]-]{0,63}$")], dict[str, Any]] = Field(min_length=1)
    baseline: str | None = None
    test: dict[str, Any] | None = None
    evaluate: dict[str, Any] = Field({})


class Recipe(Part):
    """A table: networks trained from shared settings, and one evaluation of all of them.

    `test` is the data set to attack on, None for each network's own test images; `baseline` the name of the
    deterministic model that the randomised ones are compared with.
    """

    name: str
    title: str
    models: dict[str, TrainRecipe]
    baseline: str | None
    test: DataKeys | None
    evaluate: EvaluationKeys


def load_recipe(file: Path) -> Recipe:
    """Read and check a YAML recipe. Raises InvalidRecipe with a line for every problem, all at once."""
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise RnabenchError(f"recipe: cannot read {str(file)!r} ({reason}); expected a YAML file") from None
    except yaml.YAMLError as error:
        raise InvalidRecipe(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InvalidRecipe(f"{file}: expected keys such as {', '.join(_File.model_fields)}")
    lines: list[str] = []

    def judge(kind: type[P], values: Mapping[str, Any], place: Callable[[str], str]) -> P | None:
        try:
            return kind.model_validate(values)
        except ValidationError as error:
            lines.extend(f"{file}: {place(key)}{text}" for key, text in problems(error, kind))
            return None

    judge(_File, content, lambda key: f"{key}: ")
    shared, models, test, evaluate = (
        part if isinstance(part := content.get(key), dict) else {} for key in ("train", "models", "test", "evaluate")
    )
    trainings = {}
    for name, own in models.items():
        own = own if isinstance(own, dict) else {}
        where = lambda key, own=own, name=name: f"models.{name}.{key}: " if key in own else f"train.{key}: "  # noqa: E731
        trainings[name] = judge(TrainRecipe, {**shared, **own}, where)
    data = judge(DataKeys, test, lambda key: f"test.{key}: ") if test else None
    evaluation = judge(EvaluationKeys, evaluate, lambda key: f"evaluate.{key}: ")
    baseline = content.get("baseline")
    if isinstance(baseline, str) and baseline not in models:
        lines.append(f"{file}: baseline: {baseline!r} is not valid; {one_of(models)}{did_you_mean(baseline, models)}")
    if lines:
        raise InvalidRecipe("\n".join(dict.fromkeys(lines)))
    return Recipe.model_validate(
        {"name": content["name"], "title": content["title"], "models": trainings, "baseline": baseline, "test": data,
         "evaluate": evaluation}
    )
