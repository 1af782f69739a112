"""Fixed-step gradient attacks within a norm ball: FGSM, BIM, PGD, MI-FGSM."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from rnabench.attack.attack import Attack, Strongest, Uniform
from rnabench.attack.estimators import Estimator
from rnabench.attack.losses import LOSSES, Loss, cross_entropy
from rnabench.attack.resumable import Kept, resumable
from rnabench.attack.threat import Threat
from rnabench.settings.attacks import ATTACKS, CrossCheck, LossName
from rnabench.settings.pixels import Length


@ATTACKS.register("fgsm")
class FGSM(Attack):
    summary = "one step of size eps"
    paper = "Goodfellow et al. 2015"
    crosschecks = (CrossCheck("fgsm", "torchattacks"),)

    @property
    def strength(self) -> float | None:
        return 1

    def in_effect(self, eps: float) -> dict[str, Any]:
        return super().in_effect(eps) | {"step_size": eps}

    def torchattacks(self, norm: str, eps: float, classes: int, samples: int) -> tuple[str, dict[str, Any]] | None:
        return None if samples or norm != "Linf" else ("FGSM", {"eps": eps})

    def run(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform, threat: Threat) -> Tensor:
        gradient = estimator.gradient(images, labels, cross_entropy)
        return threat.project(threat.step(images, gradient, threat.eps), images).detach()


class Steps(Attack):
    """A loss, a start, and `steps` times a direction, a step of `step_size` along it (pixel units) and the projection.

    Hooks: `objective`, the loss that is to rise; `direction`, what is made of its gradients, from `at_rest` on;
    `follow`, where gradients are asked for; and `move`, the step.
    """

    steps: int = Field(default=10, strict=True, ge=1, le=100_000)
    step_size: Length | None = None

    @property
    def objective(self) -> Loss:
        return cross_entropy

    def direction(self, gradient: Tensor, before: Tensor) -> Tensor:
        """Where the next step leads, [N, C, H, W]; `before` is the direction of the last one, at first zeros."""
        return gradient

    def at_rest(self, images: Tensor) -> Tensor:
        """The direction before the first step."""
        return torch.zeros_like(images)

    def follow(self, estimator: Estimator, candidate: Tensor, labels: Tensor, before: Tensor, last: Tensor | None
               ) -> Tensor:
        """The next direction from `candidate`; `last` is where the step before it started (None: it is the first)."""
        return self.direction(estimator.gradient(candidate, labels, self.objective), before)

    def move(self, threat: Threat, candidate: Tensor, direction: Tensor, size: float) -> Tensor:
        return threat.step(candidate, direction, size)

    def their_options(self, eps: float) -> dict[str, Any]:
        """What torchattacks calls the same."""
        return {"eps": eps, "alpha": self.step_size, "steps": self.steps}

    def run(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform, threat: Threat) -> Tensor:
        size = threat.eps / 4 if self.step_size is None else self.step_size
        candidate = threat.start(images, uniform(*images.shape[1:])) if self.random_start else images
        walk = Kept(candidate=candidate, direction=self.at_rest(images), last=None)
        for _ in resumable(range(self.steps), walk):
            walk.direction = self.follow(estimator, walk.candidate, labels, walk.direction, walk.last)
            moved = self.move(threat, walk.candidate, walk.direction, size)
            walk.last, walk.candidate = walk.candidate, threat.project(moved, images)
        found: Tensor = walk.candidate.detach()
        return found


@ATTACKS.register("bim")
class BIM(Steps):
    summary = "PGD from the image itself"
    paper = "Kurakin et al. 2017"
    needs_number = True
    names = ("bim10",)
    crosschecks: ClassVar[tuple[CrossCheck, ...]] = (CrossCheck("bim10", "torchattacks"),)

    def torchattacks(self, norm: str, eps: float, classes: int, samples: int) -> tuple[str, dict[str, Any]] | None:
        return None if samples or norm != "Linf" else ("BIM", self.their_options(eps))


@ATTACKS.register("pgd")
class PGD(Steps):
    """The last iterate is returned; of several `restarts` the strongest one."""

    summary = "projected gradient descent from random starts"
    paper = "Madry et al. 2018"
    version = 2
    random_start = True
    needs_number = True
    names: ClassVar[tuple[str, ...]] = ("pgd10", "pgd20", "pgd20-margin")
    crosschecks: ClassVar[tuple[CrossCheck, ...]] = (CrossCheck("pgd20", "torchattacks"),)

    steps: int = Field(default=20, strict=True, ge=1, le=100_000)
    loss: LossName = "ce"
    restarts: int = Field(default=1, strict=True, ge=1, le=1000)

    @property
    def plain(self) -> bool:
        return self.loss == "ce" and self.restarts == 1

    @property
    def strength(self) -> float | None:
        return 2 + self.steps if self.plain else None  # of other losses none knows which is stronger

    @property
    def objective(self) -> Loss:
        return LOSSES[self.loss]

    def passes(self, is_random: bool, classes: int) -> tuple[float, float]:
        return self.steps * self.restarts, self.restarts if self.restarts > 1 else 0

    def torchattacks(self, norm: str, eps: float, classes: int, samples: int) -> tuple[str, dict[str, Any]] | None:
        if not self.plain or (samples and norm != "Linf"):
            return None
        if samples:
            return "EOTPGD", self.their_options(eps) | {"eot_iter": samples}
        return "PGD" if norm == "Linf" else "PGDL2", self.their_options(eps) | {"random_start": True}

    def run(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform, threat: Threat) -> Tensor:
        if self.restarts == 1:
            return super().run(estimator, images, labels, uniform, threat)
        best = Strongest(images)
        for _ in resumable(range(self.restarts), best):
            candidate = super().run(estimator, images, labels, uniform, threat)
            best.offer(candidate, estimator.estimate(candidate, labels, self.objective, gradient=False))
        return best.images


class TargetedPGD(PGD):
    """PGD towards the classes that it is given in the place of labels: it lowers the loss by these."""

    @property
    def objective(self) -> Loss:
        loss = super().objective
        return lambda logits, targets: -loss(logits, targets)


def of_mean_size_1(gradient: Tensor) -> Tensor:
    """Each image's gradient scaled to a mean absolute value of 1; zeros stay zeros."""
    size = gradient.abs().mean((1, 2, 3), keepdim=True)
    return gradient / torch.where(size > 0, size, 1.0)


@ATTACKS.register("mifgsm")
class MIFGSM(Steps):
    """The direction is `decay` times the last one plus the gradient, scaled to a mean absolute value of 1."""

    summary = "BIM with momentum"
    paper = "Dong et al. 2018"
    crosschecks: ClassVar[tuple[CrossCheck, ...]] = (CrossCheck("mifgsm", "torchattacks"),)

    steps: int = Field(default=5, strict=True, ge=1, le=100_000)
    decay: float = Field(default=1.0, ge=0, le=100)

    def direction(self, gradient: Tensor, before: Tensor) -> Tensor:
        return self.decay * before + of_mean_size_1(gradient)

    def torchattacks(self, norm: str, eps: float, classes: int, samples: int) -> tuple[str, dict[str, Any]] | None:
        return None if samples or norm != "Linf" else ("MIFGSM", self.their_options(eps) | {"decay": self.decay})
