"""How a network is trained: the settings that decide what it is."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, StrictBool, ValidationInfo, field_validator

from rnabench.settings.architectures import ARCHITECTURES
from rnabench.settings.base import Granularity, Precision, digest, judged
from rnabench.settings.datasets import DataSettings, published_statistics
from rnabench.settings.pixels import Pixels
from rnabench.settings.registry import Registry
from rnabench.settings.spaces import parse_space

OBJECTIVES: Registry[Any] = Registry("objective", "rnabench.training", "rnabench.objectives")


class TrainingSettings(DataSettings):
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
    input_statistics: str | None = None
    objective: str = "black-box"
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
        return judged(ARCHITECTURES.get, value)

    @field_validator("input_statistics")
    @classmethod
    def _input_statistics(cls, value: str | None) -> str | None:
        return None if value is None else judged(published_statistics, value)

    @field_validator("objective")
    @classmethod
    def _objective(cls, value: str) -> str:
        return judged(OBJECTIVES.get, value)

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
