"""What a recipe file says before it is judged: the file, the base that it builds on, one profile, and other data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from rnabench.errors import (
    MOST_LINES,
    InvalidSettings,
    InvalidValue,
    all_at_once,
    did_you_mean,
    not_valid,
    one_of,
    unknown,
)
from rnabench.settings.base import Part, problems
from rnabench.settings.datasets import DataSettings
from rnabench.settings.documents import Unreadable, read_yaml
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.file_names import ModelName
from rnabench.settings.imported import Imported, is_imported
from rnabench.settings.recipe import Defined
from rnabench.settings.spaces import parse_space
from rnabench.settings.training import TrainingSettings

KEY = "seeds"
TRAINING_KEYS = (*TrainingSettings.model_fields, KEY)  # what `train` and a model of a recipe may say
DEPLOY = "deploy"  # and a model alone
IMPORT_KEYS = tuple(field.alias or name for name, field in Imported.model_fields.items())  # and an imported one
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**31)]


class Seeds(Part):
    """The seeds of a model's trainings; none: its one training has the `seed` of its settings."""

    seeds: tuple[Seed, ...] | None = Field(None, min_length=1)

    @field_validator(KEY)
    @classmethod
    def _different(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("expected different seeds")
        return value


def settings_and_seeds(shared: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A model's training settings (its `own` over those that are `shared`), and what it says of its seeds.

    A model's own `seed` counts, and not shared `seeds`.
    """
    merged = {**shared, **own}
    seeds = {KEY: merged.pop(KEY)} if KEY in merged else {}
    if own.get(KEY) is None and "seed" in own:
        seeds = {}
    return merged, seeds


def by_seed(name: str, training: TrainingSettings, seeds: Sequence[int] | None) -> dict[str, TrainingSettings]:
    """A model's trainings by name: `RNA.s0`, `RNA.s1` for several seeds, the model's own name for one."""
    found = [training.model_copy(update={"seed": seed}) for seed in seeds] if seeds else [training]
    return {f"{name}.s{each.seed}" if len(found) > 1 else name: each for each in found}


Content = dict[str, Any]


class Profile(Part):
    """Changes to a recipe that fit it to a machine; every part is merged into the recipe's own part of that name.

    `studies` is merged into every figure, below `figures`, of which `null` leaves one out. `norms` renames normalisers
    in all spaces: at a quarter of the width, `gn32: gn8` keeps the size of the groups.
    """

    summary: str = ""
    train: dict[str, Any] = Field({})
    models: dict[str, dict[str, Any]] = Field({})
    norms: dict[str, str] = Field({})
    test: dict[str, Any] | None = None
    evaluate: dict[str, Any] = Field({})
    table: list[str] | None = None
    studies: dict[str, Any] = Field({})
    figures: dict[str, dict[str, Any] | None] = Field({})


@dataclass(frozen=True)
class Source:
    """`content`: the recipe under `profile`. `defined`: what each model is before the profile changed it, by the keys
    of Defined."""

    content: Content
    profile: str | None
    summary: str
    defined: dict[str, Content]


def content(file: Path) -> Content:
    """What a recipe's file says over its base, not judged. Raises as `read_source`."""
    return _merged(file)


def profiles(file: Path) -> list[str]:
    """The names of a recipe's profiles; none if it has none. Raises as `read_source`."""
    return list(_profiles(file, _merged(file)))


def read_source(file: Path, profile: str | None, data: Mapping[str, Any]) -> Source:
    """Read a YAML recipe under a profile, on the data set that `data` (keys of DataSettings) names, if it names one.

    Raises RnabenchError for what cannot be read, InvalidSettings, and InvalidValue for a profile that is not there.
    """
    content = _merged(file)
    chosen = _chosen(_profiles(file, content), profile)
    content.pop("profiles", None)
    defined = {name: _defined(part(content, "train"), own) for name, own in part(content, "models").items()
               if isinstance(own, dict) and not is_imported(own)}
    content = _under(chosen, content)
    return Source(_elsewhere(data, content) if data else content, profile, chosen.summary, defined)


def _defined(shared: Content, own: Content) -> Content:
    """What a model's settings make it, over those that are shared; judged elsewhere."""
    values = {**shared, **own}
    values["dataset"] = values.get("dataset_name") or values.get("dataset")
    return {key: values[key] for key in Defined.model_fields if values.get(key) is not None}


def _chosen(profiles: Mapping[str, Profile], name: str | None) -> Profile:
    if name is None and not profiles:
        return Profile.model_validate({})
    if name is None or name not in profiles:
        raise InvalidValue("--profile", name, one_of(profiles) if profiles else "none: this recipe has no profiles",
                           profiles if name else ())
    return profiles[name]


def _under(profile: Profile, content: Content) -> Content:
    """The content with the profile's changes."""
    figures = {name: own | profile.studies if isinstance(own, dict) else own
               for name, own in part(content, "figures").items()}
    changes = profile.model_dump(exclude_unset=True, exclude={"summary", "norms", "studies"})
    content = _deep(content | ({"figures": figures} if figures else {}), changes)
    if figures:
        left_out = {name for name, own in profile.figures.items() if own is None}
        content["figures"] = {name: own for name, own in content["figures"].items() if name not in left_out}
    shared = part(content, "train").get("space")
    for own in part(content, "models").values():
        if profile.norms and isinstance(own, dict) and not is_imported(own) and isinstance(
                space := own.get("space", shared), str):
            own["space"] = "+".join(profile.norms.get(term, term) for term in space.split("+"))
    return content


def _elsewhere(data: Mapping[str, Any], content: Content) -> Content:
    """The content on the data set that `data` names, or with the changes to its own that `data` says."""
    models = {name: _on(data, own) if isinstance(own, dict) else own for name, own in part(content, "models").items()}
    return content | ({"models": models} if models else {}) | {
        "train": {**_on(data, part(content, "train")), **data},
        "test": None if "dataset" in data else _on(data, part(content, "test")),
    }


def _on(data: Mapping[str, Any], own: Content) -> Content:
    """The same for settings that say only what differs from others."""
    if "dataset" in data:
        own = {key: value for key, value in own.items() if key not in DataSettings.model_fields}
    return {**own, **data} if DataSettings.model_fields.keys() & own.keys() else own


def _profiles(file: Path, content: Content) -> dict[str, Profile]:
    """The profiles in the file. Raises InvalidSettings for all their problems at once."""
    name_of = TypeAdapter(ModelName)
    found: dict[str, Profile] = {}
    lines: list[str] = []
    if not isinstance(content.get("profiles"), dict | None):
        lines.append(f"{file}: profiles: {not_valid(content['profiles'])}; expected profiles by name")
    models = part(content, "models")
    for name, values in part(content, "profiles").items():
        try:
            named = name_of.validate_python(str(name))  # results lie in a folder that is called so
            found[named] = Profile.model_validate(values if values is not None else {})
            lines += [f"{file}: profiles.{name}.{line}"
                      for line in islice(_unknown(found[named], models, content), MOST_LINES + 1)]
        except ValidationError as error:
            lines += [f"{file}: profiles.{name}{key and '.'}{key}: {text}" for key, text in problems(error, Profile)]
    if lines:
        raise InvalidSettings(all_at_once(lines))
    return found


def _unknown(profile: Profile, models: Content, content: Content) -> Iterator[str]:
    """Names in a profile that the recipe does not have, and keys that its parts do not have, also where it is not the
    profile that is chosen. Values are judged when it is."""
    training, evaluating = TRAINING_KEYS, EvaluationSettings.model_fields
    spaces = [own.get("space") for own in (part(content, "train"), *models.values()) if isinstance(own, dict)]
    terms = list(dict.fromkeys(term for space in spaces if isinstance(space, str) for term in space.split("+")))
    for place, names, known in (
        ("models", profile.models, models), ("table", profile.table or (), models),
        ("figures", profile.figures, part(content, "figures")), ("norms", profile.norms, terms),
        ("train", profile.train, training), ("evaluate", profile.evaluate, evaluating),
        ("test", profile.test or (), DataSettings.model_fields),
        *((f"models.{model}", own, IMPORT_KEYS if is_imported(models.get(model)) else (*training, DEPLOY))
          for model, own in profile.models.items()),
    ):
        for name in names:
            if name not in known:
                yield f"{place}: {unknown(name, known)}"
    for old, new in profile.norms.items():
        try:
            parse_space(new)
        except InvalidValue as error:
            yield f"norms.{old}: {error}"


def _merged(file: Path) -> Content:
    """The file's content over that of its `base`, if it has one. Models that the base defines are there to be named in
    `table` and `figures`; by default the table has the file's own."""
    own = _read(file)
    if "base" not in own:
        return own
    for key in ("train", "models", "evaluate", "profiles", "figures"):
        if not isinstance(own.get(key, {}), dict):
            raise InvalidSettings(f"{file}: {key}: {not_valid(own[key])}; expected keys and values, merged into "
                                  "the base's")
    name = own.pop("base")
    if not isinstance(name, str):
        raise InvalidSettings(f"{file}: base: {not_valid(name)}; expected the name of a YAML file")
    # no file of another folder: a recipe and its base travel together
    if str(Path(name)) != Path(name).name or not os.path.isfile(file.parent / name):
        near = [other.name for other in file.parent.glob("*.yaml") if other != file]
        raise InvalidSettings(f"{file}: base: {not_valid(name)}; expected the name of a YAML file beside the recipe"
                              f"{did_you_mean(name, near)}")
    base = _read(file.parent / name)
    if "base" in base:
        raise InvalidSettings(f"{file}: base: {name!r} has a base itself; expected a recipe without one")
    known = part(base, "profiles")
    for profile in part(own, "profiles"):
        if known and profile not in known:
            raise InvalidSettings(f"{file}: profiles: {not_valid(profile)}; expected the base's: {one_of(known)}"
                                  f"{did_you_mean(str(profile), known)}")
    if own.get("table") is None:
        own["table"] = list(part(own, "models"))
    return _deep(base, own)


def _read(file: Path) -> Content:
    try:
        content = read_yaml(file)
    except Unreadable as error:
        raise InvalidSettings(f"recipe: cannot read {str(file)!r} ({error}); expected a YAML file") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InvalidSettings(f"{file}: expected keys such as name, title, train, models, evaluate")
    return content


def part(content: Mapping[str, Any], key: str) -> Content:
    """A part of the content; nothing, if it is none: its form is judged elsewhere."""
    values = content.get(key)
    return values if isinstance(values, dict) else {}


def _deep(below: Mapping[str, Any], above: Mapping[str, Any]) -> Content:
    """`above` over `below`; where both are mappings, key by key. Raises InvalidSettings where only one is."""
    for key, value in above.items():
        own = below.get(key)
        if value is not None and own is not None and isinstance(value, dict) != isinstance(own, dict):
            wrong = own if isinstance(value, dict) else value
            raise InvalidSettings(f"recipe: {key}: {not_valid(wrong)}; expected keys and values, as its base or "
                                "profile has them there")
    return {**below, **{key: _deep(below[key], value) if isinstance(value, dict) and isinstance(below.get(key), dict)
                        else value for key, value in above.items()}}
