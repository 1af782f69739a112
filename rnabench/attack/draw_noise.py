"""PGD against the noise of draws: momentum over steps, and variance reduction (Sitawarin et al. 2022).

A gradient that is a mean over a few draws is mostly noise; both carry what earlier steps have seen into the next one.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from rnabench.attack.estimators import Estimator
from rnabench.attack.gradient import PGD, of_mean_size_1
from rnabench.attack.threat import Threat
from rnabench.settings.attacks import ATTACKS, CrossCheck

PAPER = "Sitawarin et al. 2022"


class AgainstNoise(PGD):
    """What both have in common: they are PGD but for how they follow gradients."""

    crosschecks: ClassVar[tuple[CrossCheck, ...]] = ()

    @property
    def strength(self) -> float | None:
        return None  # nobody knows where they stand in the order

    def torchattacks(self, norm: str, eps: float, classes: int, samples: int) -> tuple[str, dict[str, Any]] | None:
        return None


@ATTACKS.register("aggmo")
class AggMo(AgainstNoise):
    """Momentum of several time scales at once (AggMo, Lucas et al. 2019): buffer i of `buffers` is 1 - 0.1^i times what
    it was, plus the gradient, scaled to a mean absolute value of 1. Each makes a step, and their mean is the step that
    is taken. With one buffer it is PGD."""

    summary = "PGD with several momentum buffers, averaged"
    paper = PAPER
    names = ("aggmo20", "aggmo200")

    buffers: int = Field(default=3, strict=True, ge=1, le=10)

    def at_rest(self, images: Tensor) -> Tensor:
        """[buffers, N, C, H, W]."""
        return images.new_zeros((self.buffers, *images.shape))

    def direction(self, gradient: Tensor, before: Tensor) -> Tensor:
        scaled = of_mean_size_1(gradient)
        return torch.stack([(1 - 0.1**number) * buffer + scaled for number, buffer in enumerate(before)])

    def move(self, threat: Threat, candidate: Tensor, direction: Tensor, size: float) -> Tensor:
        return torch.stack([threat.step(candidate, buffer, size) for buffer in direction]).mean(0)


@ATTACKS.register("storm")
class Storm(AgainstNoise):
    """Recursive momentum (STORM, Cutkosky and Orabona 2019): the direction d is followed from step to step,

        d = g(x; draws) + (1 - fresh) (d before - g(x before; the same draws)),

    so that what draws add to both gradients cancels, and d needs to be estimated anew only by a share `fresh` per step.
    With `fresh` 1 it is PGD, and on a network without randomness with any: d is then the gradient itself.
    """

    summary = "PGD whose gradient is carried on by differences on equal draws (variance reduction)"
    paper = PAPER
    names = ("storm20", "storm100")

    fresh: float = Field(default=0.3, ge=0, le=1)

    def passes(self, is_random: bool, classes: int) -> tuple[float, float]:
        gradients, forwards = super().passes(is_random, classes)
        return gradients + (self.steps - 1) * self.restarts, forwards

    def follow(self, estimator: Estimator, candidate: Tensor, labels: Tensor, before: Tensor, last: Tensor | None
               ) -> Tensor:
        held = estimator.held()
        gradient = held.gradient(candidate, labels, self.objective)
        if last is None:
            return gradient
        return gradient + (1 - self.fresh) * (before - held.gradient(last, labels, self.objective))
