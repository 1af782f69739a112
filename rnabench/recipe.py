"""Typed, frozen settings, validated once at the edge; options in, all errors at once, a digest out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from rnabench.data.registry import dataset_info
from rnabench.errors import InvalidRecipe, InvalidValue, did_you_mean
from rnabench.model.architectures import architecture
from rnabench.norm.space import parse_space
from rnabench.pixels import Pixels

Granularity = Literal["batch", "sample"]
Precision = Literal["fp32", "tf32", "bf16"]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class DataKeys(Part):
    """Which images: the same keys for training and for evaluation."""

    dataset: str = "digits"
    data_dir: Path | None = Field(None, validate_default=True)
    dataset_name: str | None = Field(None, pattern=r"^[\w.+-]{1,64}$")
    download: StrictBool = False

    @field_validator("dataset")
    @classmethod
    def _dataset(cls, value: str) -> str:
        return judged(dataset_info, value)

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


P = TypeVar("P", bound=Part)


class TrainRecipe(DataKeys):
    """Everything that decides what a trained network is.

    Some settings are there for the behaviour of the paper's released code (docs/released-code.md):
    `bgn_momentum` is the weight of the new batch in a BGN's running statistics, and `bgn_variance` what a training
    batch is divided by (BGNs of one channel per group are batch normalisations, and keep torch's); `input_statistics`
    names another data set whose mean and deviation normalise the input; `unused_options` that a batch's path leaves out
    stand `still`, or go on by momentum and weight `decay`; `milestones` are the epochs after which `schedule: step`
    divides the rate by ten (None: half and three quarters of the run); without `drop_last` an epoch's last, incomplete
    batch is trained on too; `n_holdout` 0 trains on everything and needs `select: last`.
    """

    eps: Pixels = 8 / 255
    step_size: Pixels | None = None
    arch: str = "resnet18"
    width: int | None = Field(None, strict=True, ge=1, le=1024)
    space: str = "bn+in"
    layer_based: StrictBool = False
    granularity: Granularity = "batch"
    bgn_momentum: float = Field(0.1, gt=0, le=1)
    bgn_variance: Literal["biased", "unbiased"] = "biased"
    input_statistics: Literal["cifar10", "cifar100", "imagenet"] | None = None
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
    unused_options: Literal["still", "decay"] = "still"
    schedule: Literal["step", "cosine", "one-cycle"] = "step"
    milestones: tuple[int, ...] | None = None
    drop_last: StrictBool = True
    augment: StrictBool = True
    n_train: int | None = Field(None, strict=True, ge=2)
    n_holdout: int | None = Field(None, strict=True, ge=0)
    select: Literal["best", "last"] = Field("best", validate_default=True)
    precision: Precision = "fp32"
    compile: StrictBool = False
    seed: int = Field(0, strict=True, ge=0, lt=2**31)

    @field_validator("arch")
    @classmethod
    def _arch(cls, value: str) -> str:
        return judged(architecture, value)

    @field_validator("space")
    @classmethod
    def _space(cls, value: str) -> str:
        judged(parse_space, value)
        return str(parse_space(value))

    @field_validator("milestones", mode="before")
    @classmethod
    def _milestones(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str):
            value = [int(part) if re.fullmatch(r" *\d{1,5} *", part) else part for part in value.split(",")]
        if value is None or not isinstance(value, list | tuple):
            return value
        epochs = info.data.get("epochs", 10000)
        whole = all(isinstance(epoch, int) and not isinstance(epoch, bool) for epoch in value)
        if not whole or not value or sorted(set(value)) != list(value) or not 0 < value[0] <= value[-1] < epochs:
            raise ValueError(f"expected growing numbers of epochs between 1 and {epochs - 1}, such as 99,149")
        if info.data.get("schedule") != "step":
            raise ValueError("expected none, or schedule 'step'")
        return value

    @field_validator("select")
    @classmethod
    def _select(cls, value: str, info: ValidationInfo) -> str:
        if value == "best" and info.data.get("n_holdout") == 0:
            raise ValueError("expected 'last': no images are held out to choose an epoch by")
        return value

    @property
    def step(self) -> float:
        """The step size in pixel units: eps / 4 unless given, which is the paper's 2/255 at its eps of 8/255."""
        return self.eps / 4 if self.step_size is None else self.step_size

    def identity(self) -> dict[str, Any]:
        """What decides the network: every value that is not the default, and nothing about where the files lie.

        Defaults are left out so that a new option does not make every run folder stale; so a default never changes.
        """
        return self.model_dump(mode="json", exclude={"data_dir", "download"}, exclude_defaults=True) | {
            "dataset": self.dataset, "arch": self.arch, "space": self.space, "step_size": self.step,
        }

    def digest(self) -> str:
        return digest(self.identity())


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
            names = list(kind.model_fields) if len(item["loc"]) == 1 else []
            message = "unknown key"
            if names:
                message += f"; expected one of {', '.join(names)}{did_you_mean(key, names)}"
        elif item["type"] == "missing":
            message = "missing; expected a value"
        else:
            expected = " ".join(message.split()).removeprefix("Input should be ").removeprefix("expected ")
            message = f"{_short(item['input'])} is not valid; expected {_in_words(expected)}"
        found.append((key, message))
    return found


def _in_words(expected: str) -> str:
    """A type in a recipe's words and not in Python's."""
    if re.match(r"(Tuple|List) should have at least 1 item", expected):
        return "a list that is not empty"
    return re.sub(r"^a valid (tuple|list)$", "a list", re.sub(r"^a valid dictionary.*", "keys and values", expected))


def _short(value: object) -> str:
    text = repr(str(value) if isinstance(value, Path) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def chosen_indices(text: str) -> list[int]:
    """`0-99,250` as numbers. Raises ValueError."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part.strip())
        last = int(match[2] or match[1]) if match else -1
        if match is None or last < int(match[1]) or last - int(match[1]) > 10_000_000:
            raise ValueError("expected numbers and ranges such as 0-99,250")
        found.extend(range(int(match[1]), last + 1))
    return list(dict.fromkeys(found))


def digest(content: Mapping[str, Any]) -> str:
    """12 hex digits of a JSON-like value."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def judged(parse: Callable[[str], object], value: str) -> str:
    """Let one of the package's own parsers judge a name, and say its verdict in the form that pydantic understands."""
    try:
        parse(value)
    except InvalidValue as error:
        raise ValueError(f"expected {error.expected}{error.hint}") from None
    return value
