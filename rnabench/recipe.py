"""Recipes: typed, frozen, validated once at the edge; YAML or options in, all errors at once, a digest out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from rnabench.attack.suite import parse_attack, suite
from rnabench.data.registry import dataset_info
from rnabench.errors import InvalidRecipe, InvalidValue, RnabenchError, did_you_mean
from rnabench.evaluation.protocol import parse_protocol
from rnabench.model.architectures import architecture
from rnabench.norm.space import parse_space

PIXEL_UNITS = "a fraction such as 8/255 or a decimal, in pixel units from 0 to 1"


def pixel_units(value: object) -> float:
    """`8/255` or a decimal as a float in [0, 1]. Raises ValueError."""
    try:
        if isinstance(value, bool):
            raise TypeError
        if isinstance(value, str) and "/" in value:
            top, bottom = value.split("/")
            number = float(top) / float(bottom)
        else:
            number = float(value)  # type: ignore[arg-type]
    except (ValueError, TypeError, ZeroDivisionError):
        raise ValueError(f"expected {PIXEL_UNITS}") from None
    if not 0 <= number <= 1:
        raise ValueError(f"expected {PIXEL_UNITS}" + (f"; did you mean '{number:g}/255'?" if number > 1 else ""))
    return number


Pixels = Annotated[float, BeforeValidator(pixel_units)]
Granularity = Literal["batch", "sample"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class DataKeys(_Part):
    """Which images: the same keys for training and for evaluation."""

    dataset: str = "digits"
    data_dir: Path | None = Field(None, validate_default=True)
    dataset_name: str | None = Field(None, pattern=r"^[\w.+-]{1,64}$")
    download: StrictBool = False

    @field_validator("dataset")
    @classmethod
    def _dataset(cls, value: str) -> str:
        return _judged(dataset_info, value)

    @field_validator("data_dir")
    @classmethod
    def _folder(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        dataset = info.data.get("dataset")
        if dataset is not None and dataset_info(dataset).needs_folder and value is None:
            raise ValueError(f"expected the folder that holds {dataset!r}")
        if dataset == "digits" and value is not None:
            raise ValueError("expected no folder for dataset 'digits'; did you mean --dataset folder?")
        return value

    @property
    def title(self) -> str:
        """What results call the data set."""
        return self.dataset_name or self.dataset


P = TypeVar("P", bound=_Part)


class _Threat(_Part):
    eps: Pixels = 8 / 255
    step_size: Pixels | None = None

    @property
    def step(self) -> float:
        """The step size in pixel units: eps / 4 unless given, which is the paper's 2/255 at its eps of 8/255."""
        return self.eps / 4 if self.step_size is None else self.step_size


class TrainRecipe(DataKeys, _Threat):
    """Everything that decides what a trained network is."""

    arch: str = "resnet18"
    width: int | None = Field(None, strict=True, ge=1, le=1024)
    space: str = "bn+in"
    layer_based: StrictBool = False
    granularity: Granularity = "batch"
    objective: Literal["standard", "white-box", "black-box"] = "black-box"
    steps: int = Field(10, strict=True, ge=1, le=1000)
    eps_warmup: int = Field(0, strict=True, ge=0, le=10000)
    attack_mode: Literal["train", "eval"] = "train"
    track_attack_stats: StrictBool = False
    epochs: int = Field(30, strict=True, ge=1, le=10000)
    batch_size: int = Field(128, strict=True, ge=2, le=65536)
    lr: float = Field(0.1, gt=0, le=100)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0, lt=1)
    schedule: Literal["step", "cosine", "one-cycle"] = "step"
    augment: StrictBool = True
    n_train: int | None = Field(None, strict=True, ge=2)
    n_holdout: int | None = Field(None, strict=True, ge=1)
    select: Literal["best", "last"] = "best"
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: StrictBool = False
    seed: int = Field(0, strict=True, ge=0, lt=2**31)

    @field_validator("arch")
    @classmethod
    def _arch(cls, value: str) -> str:
        return _judged(architecture, value)

    @field_validator("space")
    @classmethod
    def _space(cls, value: str) -> str:
        _judged(parse_space, value)
        return str(parse_space(value))

    def identity(self) -> dict[str, Any]:
        """What decides the network: every value that is not the default, and nothing about where the files lie.

        Defaults are left out so that a new option does not make every run folder stale; so a default never changes.
        """
        return self.model_dump(mode="json", exclude={"data_dir", "download"}, exclude_defaults=True) | {
            "dataset": self.dataset, "arch": self.arch, "space": self.space, "step_size": self.step,
        }

    def digest(self) -> str:
        return digest(self.identity())


class EvaluationKeys(_Threat):
    """How networks are attacked and scored. `attacks` and `protocols` replace the suite's own; `steps` its PGD's."""

    suite: str = "quick"
    attacks: tuple[str, ...] | None = Field(None, min_length=1)
    protocols: tuple[str, ...] | None = Field(None, min_length=1)
    steps: int | None = Field(None, strict=True, ge=1, le=10000)
    n_examples: int | None = Field(None, strict=True, ge=1)
    draws: int = Field(20, strict=True, ge=1, le=1000)
    granularity: Granularity = "batch"
    batch_size: int = Field(128, strict=True, ge=1, le=65536)
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = Field(0, strict=True, ge=0, lt=2**31)

    @field_validator("suite")
    @classmethod
    def _suite(cls, value: str) -> str:
        return _judged(suite, value)

    @field_validator("attacks")
    @classmethod
    def _attacks(cls, values: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return values and tuple(_judged(parse_attack, value) for value in values)

    @field_validator("protocols")
    @classmethod
    def _protocols(cls, values: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return values and tuple(_judged(parse_protocol, value) for value in values)

    def plan(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names of the attacks and of the protocols that are run."""
        chosen = suite(self.suite)
        attacks = self.attacks or chosen.attacks
        if self.steps is not None:
            attacks = tuple(f"pgd{self.steps}" if name.startswith("pgd") else name for name in attacks)
        return attacks, self.protocols or chosen.protocols


class _File(_Part):
    """The top level of a recipe file; its parts are judged one by one, so that all errors come at once."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    train: dict[str, Any] = {}
    models: dict[Annotated[str, Field(pattern=r"^\w[\w.+\[\]-]{0,63}$")], dict[str, Any]] = Field(min_length=1)
    test: dict[str, Any] | None = None
    evaluate: dict[str, Any] = {}


class Recipe(_Part):
    """A table: networks trained from shared settings, and one evaluation of all of them.

    `test` is the data set to attack on, None for each network's own test images.
    """

    name: str
    title: str
    models: dict[str, TrainRecipe]
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
    if lines:
        raise InvalidRecipe("\n".join(dict.fromkeys(lines)))
    return Recipe.model_validate(
        {"name": content["name"], "title": content["title"], "models": trainings, "test": data, "evaluate": evaluation}
    )


def from_options(kind: type[P], options: Mapping[str, Any]) -> P:
    """A recipe part from command-line values. Raises InvalidRecipe that names options the way they are typed."""
    try:
        return kind.model_validate(options)
    except ValidationError as error:
        lines = [f"--{key.replace('_', '-')}: {text}" for key, text in problems(error, kind)]
        raise InvalidRecipe("\n".join(lines)) from None


def problems(error: ValidationError, kind: type[BaseModel]) -> list[tuple[str, str]]:
    """(key, what is wrong with it) for each problem: the value, what was expected, the nearest valid name."""
    found = []
    for item in error.errors(include_url=False):
        key = ".".join(map(str, item["loc"]))
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            names = list(kind.model_fields)
            message = f"unknown key; expected one of {', '.join(names)}{did_you_mean(key, names)}"
        elif item["type"] == "missing":
            message = "missing; expected a value"
        else:
            expected = " ".join(message.split()).removeprefix("Input should be ").removeprefix("expected ")
            message = f"{_short(item['input'])} is not valid; expected {expected}"
        found.append((key, message))
    return found


def _short(value: object) -> str:
    text = repr(str(value) if isinstance(value, Path) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def digest(content: Mapping[str, Any]) -> str:
    """12 hex digits of a JSON-like value."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _judged(parse: Callable[[str], object], value: str) -> str:
    """Let one of the package's own parsers judge a name, and say its verdict in the form that pydantic understands."""
    try:
        parse(value)
    except InvalidValue as error:
        raise ValueError(f"expected {error.expected}{error.hint}") from None
    return value
