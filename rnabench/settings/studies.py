"""What a study (transfer matrix, path difference, smoothness, gradient similarity, theory) is asked to do."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import StrictBool, ValidationInfo, field_validator

from rnabench.errors import InvalidValue
from rnabench.settings.attacks import AttackSpec, parse_attack
from rnabench.settings.base import (
    BATCH_SIZE,
    Draws,
    Indices,
    NExamples,
    Norm,
    Part,
    Precision,
    Seed,
    chosen_indices,
    described,
    setting,
)
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.pixels import EPS, STEP_SIZE, Length, pixel_units

PATHS = described("What a randomised network stands for: itself with a draw per group of images (deployed), one path "
                  "per normaliser (normalisers), or a number of random paths.", "Network")
RADIUS = described("Euclidean length, in pixel values, up to which the loss is looked at.", "Attack",
                   "the longest change within --eps", gt=0)
LENGTHS = described("Steps along the gradient up to that length.", "Attack", strict=True, ge=1, le=100)


class StudySettings(Part):
    """What all studies share. Images come in the test set's order, `n_examples` of them or those of `indices`.

    `eps` and `step_size` are pixel units for Linf, Euclidean length for L2. `version` is raised when a study's numbers
    change by what it does itself.
    """

    kind: ClassVar[str] = ""
    version: ClassVar[int] = 1
    norm: Norm = "Linf"
    eps: Annotated[Length, EPS] = 8 / 255
    step_size: Annotated[Length | None, STEP_SIZE] = None
    n_examples: NExamples = None
    indices: Indices = None
    batch_size: int = setting(128, BATCH_SIZE, "Run", strict=True, ge=1, le=65536)
    precision: Precision = "fp32"
    seed: Seed = 0

    @field_validator("indices")
    @classmethod
    def _indices(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None:
            chosen_indices(value)
            if info.data.get("n_examples") is not None:
                raise ValueError("expected n_examples or indices, not both")
        return value

    @field_validator("eps", "step_size")
    @classmethod
    def _size(cls, value: float | None, info: ValidationInfo) -> float | None:
        return pixel_units(value) if value is not None and info.data.get("norm") == "Linf" else value

    def evaluation(self, **more: Any) -> EvaluationSettings:
        """The same settings as an evaluation's."""
        shared = self.model_dump(include=set(StudySettings.model_fields))
        return EvaluationSettings.model_validate(shared | {"sanity": False} | more)


class Attacking(StudySettings):
    """A study that attacks."""

    attack: str | dict[str, Any] = setting("pgd7", "Attack by name, as in `rnabench attack --list`.", "Attack")

    @field_validator("attack")
    @classmethod
    def _attack(cls, value: str | dict[str, Any]) -> str | dict[str, Any]:
        try:
            parse_attack(value)
        except InvalidValue as error:
            raise ValueError(f"expected {error.expected}{error.hint}") from None
        return value

    @property
    def spec(self) -> AttackSpec:
        return parse_attack(self.attack)


class Splitting(StudySettings):
    """A study of several networks; a randomised one stands for itself (`deployed`: a fresh draw per batch), for the
    paths that take one normaliser throughout (`normalisers`), or for so many random paths."""

    paths: Annotated[str, PATHS] = "deployed"

    @field_validator("paths", mode="before")
    @classmethod
    def _paths(cls, value: object) -> str:
        text = str(value)
        if text not in ("deployed", "normalisers") and not (text.isdecimal() and 1 <= int(text) <= 100):
            raise ValueError("expected deployed, normalisers, or a number of random paths from 1 to 100")
        return text


class TransferMatrixSettings(Attacking, Splitting):
    """Attack each network, and let every other one predict the images (Figure 1 c/d)."""

    kind: ClassVar[str] = "transfer-matrix"
    draws: Draws = 20


class PathDifferenceSettings(Attacking):
    """Attack one path of a randomised network and predict with others, by the number of layers in which they differ
    (Figure 5 c)."""

    kind: ClassVar[str] = "path-difference"
    pairs: int = setting(10, "Pairs of paths at every difference.", "Attack", strict=True, ge=2, le=1000)


class SmoothnessSettings(Splitting):
    """Smoothness of the loss around test images: surfaces, gradient norm and curvature, and eq. 5 by layer (Figure 2).

    `radius` is, by default, the length of a change by eps in every pixel (Linf), or eps (L2).
    """

    kind: ClassVar[str] = "smoothness"
    unused: ClassVar[tuple[str, ...]] = ("step_size",)
    paths: str = setting("normalisers", "Which paths of a randomised network to look at one by one, besides the mean "
                         "over paths: one per normaliser (normalisers), a number of random ones, or none (deployed).",
                         "Network")
    samples: int = setting(10, "Paths in the mean over paths of a randomised network.", "Network", strict=True, ge=1,
                           le=1000)
    radius: Annotated[Length | None, RADIUS] = None
    lengths: Annotated[int, LENGTHS] = 8
    surfaces: int = setting(2, "Loss surfaces around so many of the first images.", "Data", strict=True, ge=0, le=16)
    points: int = setting(21, "Points per side of a surface (odd).", "Data", strict=True, ge=3, le=201)

    @field_validator("points")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("expected an odd number, so that the image itself is a point")
        return value


class GradientSimilaritySettings(Splitting):
    """Cosines between the input gradients of networks, or of the paths of one (Figure 3)."""

    kind: ClassVar[str] = "gradient-similarity"
    unused: ClassVar[tuple[str, ...]] = ("norm", "eps", "step_size")
    by_difference: StrictBool = setting(False, "Between pairs of paths of each network, by path difference, instead of "
                                        "between networks.", "Network")
    pairs: int = setting(10, "Pairs of paths at every difference.", "Network", strict=True, ge=2, le=1000)

    @field_validator("by_difference")
    @classmethod
    def _whole(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("paths") != "deployed":
            raise ValueError("expected paths 'deployed' with it: it draws pairs of paths of the whole network")
        return value


class TheorySettings(Attacking, Splitting):
    """The terms of Theorem 3.1's bound for every pair of networks, beside the measured transfer.

    A randomised network stands for fixed paths of its own.
    """

    kind: ClassVar[str] = "theory"
    paths: Annotated[str, PATHS] = "normalisers"
    radius: Annotated[Length | None, RADIUS] = None
    lengths: Annotated[int, LENGTHS] = 8

    @field_validator("attack")
    @classmethod
    def _bounded(cls, value: str | dict[str, Any]) -> str | dict[str, Any]:
        if not parse_attack(value).bounded:
            raise ValueError("expected an attack within eps: the theorem is about a ball")
        return value

    @property
    def length(self) -> float:
        """The eps in effect: the attack's own, if it has one."""
        return self.eps if self.spec.eps is None else self.spec.eps


STUDIES: dict[str, type[StudySettings]] = {
    kind.kind: kind for kind in (TransferMatrixSettings, PathDifferenceSettings, SmoothnessSettings,
                                 GradientSimilaritySettings, TheorySettings)
}
