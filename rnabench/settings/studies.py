"""What a study (transfer matrix, path difference, smoothness, gradient similarity, theory) is asked to do."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, StrictBool, ValidationInfo, field_validator

from rnabench.errors import InvalidValue
from rnabench.settings.attacks import AttackSpec, parse_attack
from rnabench.settings.base import Part, Precision, chosen_indices
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.pixels import Length, pixel_units


class StudySettings(Part):
    """What all studies share. Images come in the test set's order, `n_examples` of them or those of `indices`.

    `eps` and `step_size` are pixel units for Linf, Euclidean length for L2. `version` is raised when a study's numbers
    change by what it does itself.
    """

    kind: ClassVar[str] = ""
    version: ClassVar[int] = 1
    norm: Literal["Linf", "L2"] = "Linf"
    eps: Length = 8 / 255
    step_size: Length | None = None
    n_examples: int | None = Field(None, strict=True, ge=1)
    indices: str | None = None
    batch_size: int = Field(128, strict=True, ge=1, le=65536)
    precision: Precision = "fp32"
    seed: int = Field(0, strict=True, ge=0, lt=2**31)

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

    attack: str | dict[str, Any] = "pgd7"

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

    paths: str = "deployed"

    @field_validator("paths", mode="before")
    @classmethod
    def _paths(cls, value: object) -> str:
        text = str(value)
        if text not in ("deployed", "normalisers") and not (text.isdecimal() and 1 <= int(text) <= 100):
            raise ValueError("expected deployed, normalisers, or a number of random paths from 1 to 100")
        return text


class TransferMatrixSettings(Attacking, Splitting):
    """Figure 1 c/d. `draws` fresh paths score the images on a deployed randomised target."""

    kind: ClassVar[str] = "transfer-matrix"
    draws: int = Field(20, strict=True, ge=1, le=1000)


class PathDifferenceSettings(Attacking):
    """Figure 5 c. `pairs` random pairs of paths at every difference."""

    kind: ClassVar[str] = "path-difference"
    pairs: int = Field(10, strict=True, ge=2, le=1000)


class SmoothnessSettings(Splitting):
    """Figure 2 and eqs. 5-6. `samples` paths make the mean over paths of a randomised network; losses and gradients are
    looked at up to the Euclidean length `radius` (default: that of a change by eps in every pixel, Linf, or eps, L2)
    along the gradient, at `lengths` equal steps; `surfaces` of the first images are drawn with `points` x `points`."""

    kind: ClassVar[str] = "smoothness"
    paths: str = "normalisers"
    samples: int = Field(10, strict=True, ge=1, le=1000)
    radius: Length | None = Field(None, gt=0)
    lengths: int = Field(8, strict=True, ge=1, le=100)
    surfaces: int = Field(2, strict=True, ge=0, le=16)
    points: int = Field(21, strict=True, ge=3, le=201)

    @field_validator("points")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("expected an odd number, so that the image itself is a point")
        return value


class GradientSimilaritySettings(Splitting):
    """Figure 3: between networks, or (`by_difference`) between `pairs` of paths of each network at every difference."""

    kind: ClassVar[str] = "gradient-similarity"
    by_difference: StrictBool = False
    pairs: int = Field(10, strict=True, ge=2, le=1000)

    @field_validator("by_difference")
    @classmethod
    def _whole(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("paths") != "deployed":
            raise ValueError("expected paths 'deployed' with it: it draws pairs of paths of the whole network")
        return value


class TheorySettings(Attacking, Splitting):
    """Theorem 3.1; a randomised network stands for fixed paths of its own. `radius` and `lengths` as in smoothness."""

    kind: ClassVar[str] = "theory"
    paths: str = "normalisers"
    radius: Length | None = Field(None, gt=0)
    lengths: int = Field(8, strict=True, ge=1, le=100)


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
