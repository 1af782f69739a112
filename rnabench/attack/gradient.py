"""Fixed-step gradient attacks within a norm ball: PGD, and FGSM, BIM and MI-FGSM as its special cases."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rnabench.attack.attack import Strongest, Uniform
from rnabench.attack.estimators import Estimator
from rnabench.attack.losses import Loss, cross_entropy
from rnabench.attack.threat import Threat


@dataclass(frozen=True)
class PGD:
    """Projected gradient descent: `steps` steps of `step_size` (pixel units), from a random point if `random_start`.

    FGSM is one step of size eps from the image itself; BIM starts there too; MI-FGSM adds, at every step, `decay` times
    the sum so far of gradients scaled to mean absolute value 1. The last iterate is returned; of several `restarts`
    the strongest one.
    """

    threat: Threat
    step_size: float
    steps: int
    random_start: bool = True
    restarts: int = 1
    decay: float | None = None
    loss: Loss = cross_entropy

    def __call__(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform) -> Tensor:
        if self.restarts == 1:
            return self._run(estimator, images, labels, uniform)
        best = Strongest(images)
        for _ in range(self.restarts):
            candidate = self._run(estimator, images, labels, uniform)
            best.offer(candidate, estimator.estimate(candidate, labels, self.loss, gradient=False))
        return best.images

    def _run(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform) -> Tensor:
        candidate, momentum = images, torch.zeros_like(images)
        if self.random_start:
            candidate = self.threat.start(images, uniform(*images.shape[1:]))
        for _ in range(self.steps):
            gradient = estimator.gradient(candidate, labels, self.loss)
            if self.decay is not None:
                scale = gradient.abs().mean((1, 2, 3), keepdim=True)
                # an image without a gradient stays where it is: 0 / 0 would be NaN
                gradient = momentum = self.decay * momentum + gradient / torch.where(scale > 0, scale, 1.0)
            candidate = self.threat.project(self.threat.step(candidate, gradient, self.step_size), images)
        return candidate.detach()
