"""Attacks on randomly transformed inputs (DI2-FGSM and its relatives), made for images that transfer to other
networks."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from torch import Tensor

from rnabench.attack.attack import Attack, Uniform
from rnabench.attack.estimators import Estimator
from rnabench.attack.gradient import BIM, MIFGSM
from rnabench.attack.input_draws import InputDraws
from rnabench.attack.minimal import CarliniWagner
from rnabench.attack.threat import Threat
from rnabench.path.resizing import ResizeAndPad
from rnabench.settings.attacks import ATTACKS, CrossCheck

SCALES = {"grow": 1.104, "shrink": 0.9}
PAPER = "Xie et al. 2019"


class DiverseInputs(Attack):
    """What the attacks here have in common: at every step, each image is transformed with a `probability`, by a draw
    of its own (see `ResizeAndPad`), before the network sees it.

    Mode `grow` resizes it by up to `scale` (1.104 by default: 32 to 35 pixels, 299 to 330) and shows it at the largest
    size; `shrink`, for networks that take images of one size, by down to `scale` (0.9), padded to the size it had. With
    probability 0 these are BIM, MI-FGSM and CW themselves. torchattacks' DIFGSM resizes bilinearly, pads with black and
    draws once for a batch, so that no cross-check is made.
    """

    crosschecks: ClassVar[tuple[CrossCheck, ...]] = ()  # of the attacks without transformations

    probability: float = Field(default=0.5, ge=0, le=1)
    scale: float = Field(default=SCALES["grow"], gt=0, le=4)
    mode: Literal["grow", "shrink"] = "grow"

    @model_validator(mode="before")
    @classmethod
    def _scale_of_the_mode(cls, values: Any) -> Any:
        return {"scale": SCALES[values["mode"]], **values} if values.get("mode") in SCALES else values

    @model_validator(mode="after")
    def _fits_its_mode(self) -> Self:
        if self.scale < 1 if self.mode == "grow" else self.scale > 1:
            raise ValueError(f"expected scale at least 1 with mode grow, at most 1 with shrink, not {self.scale:g} "
                             f"with {self.mode}")
        return self

    @property
    def transform(self) -> ResizeAndPad:
        return ResizeAndPad(self.probability, self.scale)

    def torchattacks(self, norm: str, eps: float, classes: int, samples: int) -> tuple[str, dict[str, Any]] | None:
        return None

    def largest_side(self, side: int) -> int:
        return self.transform.sizes(side)[1] if self.probability > 0 else side

    def diverse(self, estimator: Estimator, images: Tensor, uniform: Uniform) -> Estimator:
        """The same attacker behind the transformation."""
        if self.probability == 0:
            return estimator
        return estimator.through(InputDraws(self.transform, uniform, len(images), images.device))


@ATTACKS.register("difgsm")
class DIFGSM(DiverseInputs, BIM):
    """DI2-FGSM (the thesis, eq. 3.6): BIM on transformed inputs."""

    summary = "BIM on randomly resized and padded inputs (DI2-FGSM)"
    paper = PAPER
    needs_number = False
    names = ("difgsm10",)

    def run(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform, threat: Threat) -> Tensor:
        return super().run(self.diverse(estimator, images, uniform), images, labels, uniform, threat)


@ATTACKS.register("midifgsm")
class MIDIFGSM(DiverseInputs, MIFGSM):
    """M-DI2-FGSM (eq. 3.7): the same with momentum; with `decay` 0 it is DI2-FGSM."""

    summary = "MI-FGSM on randomly resized and padded inputs (M-DI2-FGSM)"
    paper = PAPER

    steps: int = Field(default=10, strict=True, ge=1, le=100_000)

    def run(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform, threat: Threat) -> Tensor:
        return super().run(self.diverse(estimator, images, uniform), images, labels, uniform, threat)


@ATTACKS.register("dcw")
class DCW(DiverseInputs, CarliniWagner):
    """D-C&W: the smallest change that misclassifies about half of all draws of transformations (see CarliniWagner on
    randomised models), which is larger than the smallest that misclassifies the image itself."""

    summary = "CW on randomly resized and padded inputs (D-C&W)"
    paper = PAPER

    def run(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform, threat: Threat) -> Tensor:
        return super().run(self.diverse(estimator, images, uniform), images, labels, uniform, threat)
