"""DeepFool (Moosavi-Dezfooli et al. 2016): the nearest decision boundary by repeated linearisation, batched."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rnabench.attack.attack import Uniform
from rnabench.attack.estimators import Estimator
from rnabench.attack.shorten import shorten

NEAR = 3  # boundaries that are followed after the first step: more of them changed no distance in our measurements
CONFIRM = 10  # draws that have to agree, in the majority, that a randomised model is fooled


@dataclass(frozen=True)
class DeepFool:
    """At every step, each example goes to the nearest boundary of the linearised model; examples leave the batch when
    they are misclassified.

    The first step looks at the boundaries to the `candidates` wrong classes with the largest logits, later ones at the
    nearest of these. The steps add up, and the sum times 1 + `overshoot` is what is tried; the result is shortened by
    bisection. A randomised model counts as fooled when most of at least 10 fresh draws are wrong: one lucky draw does
    not end the attack.
    """

    steps: int = 50
    overshoot: float = 0.02
    candidates: int = 10

    def __call__(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform) -> Tensor:
        found, change = images.clone(), torch.zeros_like(images)
        others = estimator.mean_logits(images).scatter(1, labels[:, None], -torch.inf)
        targets = others.topk(min(self.candidates, others.shape[1] - 1), dim=1).indices
        rows = torch.arange(len(images), device=images.device)
        near = targets[:, :NEAR].clone()
        for step in range(self.steps):
            rows = rows[estimator.wrong(found[rows], labels[rows], rows, CONFIRM) <= 0.5]
            if not len(rows):
                break
            gaps, slopes = estimator.gaps(found[rows], labels[rows], (near if step else targets)[rows], rows)
            steepness = slopes.flatten(2).norm(dim=2)
            distance = (gaps.abs() / steepness.clamp_min(1e-12)).masked_fill(steepness == 0, torch.inf)
            if step == 0:
                near[rows] = targets[rows].gather(1, distance.T.argsort(1)[:, : near.shape[1]])
            nearest, target = distance.min(0)
            each = torch.arange(len(rows), device=images.device)
            length = (gaps[target, each].abs() + 1e-4) / steepness[target, each].square().clamp_min(1e-24)
            change[rows] += torch.where(nearest.isfinite(), length, 0.0).view(-1, 1, 1, 1) * slopes[target, each]
            found[rows] = (images[rows] + (1 + self.overshoot) * change[rows]).clamp(0, 1)
        return shorten(estimator, found, images, labels)
