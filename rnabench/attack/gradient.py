"""Gradient attacks within a norm ball: PGD, and FGSM as its one-step case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from rnabench.attack.threat import Linf

GradientEstimator = Callable[[Tensor, Tensor], Tensor]
"""(images [N, C, H, W], labels [N]) -> gradient of the loss with respect to the images."""


@dataclass(frozen=True)
class PGD:
    """Projected gradient descent: `steps` steps of `step_size` (pixel units), from a random point if `random_start`.

    FGSM is one step of size eps from the image itself: `PGD(Linf(eps), eps, 1, random_start=False)`.
    """

    threat: Linf
    step_size: float
    steps: int
    random_start: bool = True

    def __call__(
        self, estimate: GradientEstimator, images: Tensor, labels: Tensor, uniform: Tensor | None = None
    ) -> Tensor:
        """Adversarial images [N, C, H, W]; `uniform` on [0, 1) is the source of the random start."""
        candidate = images
        if self.random_start:
            if uniform is None:
                raise ValueError("a random start needs uniform noise of the images' shape")
            candidate = self.threat.start(images, uniform)
        for _ in range(self.steps):
            gradient = estimate(candidate, labels)
            candidate = self.threat.project(self.threat.step(candidate, gradient, self.step_size), images)
        return candidate.detach()
