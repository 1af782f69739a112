"""An attack: one class whose fields are its settings. Then `--attacks nudge5` names it, and recipes may."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from rnabench.attack.attack import Attack, Uniform
from rnabench.attack.estimators import Estimator
from rnabench.attack.threat import Threat
from rnabench.settings.attacks import ATTACKS


@ATTACKS.register("nudge")
class Nudge(Attack):
    """Small steps along the gradient from the image itself. The estimator knows whose path is attacked; what leaves the
    ball or [0, 1] is an error of the attack's."""

    summary = "small steps along the gradient"
    version = 7  # raised whenever its numbers change
    steps: int = Field(default=5, ge=1)

    @property
    def strength(self) -> float:  # sanity checks expect the stronger of two to leave no more accuracy
        return self.steps

    def run(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform, threat: Threat) -> Tensor:
        adversarial = images
        for _ in range(self.steps):
            gradient = estimator.gradient(adversarial, labels)
            adversarial = threat.project(threat.step(adversarial, gradient, threat.eps / self.steps), images)
        return adversarial
