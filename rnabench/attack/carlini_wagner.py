"""The attack of Carlini and Wagner (2017): the smallest Euclidean change that misclassifies, by Adam."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rnabench.attack.attack import Uniform
from rnabench.attack.estimators import Estimator
from rnabench.attack.losses import margin
from rnabench.attack.shorten import shorten
from rnabench.attack.threat import lengths

BETAS, ADAM_EPS = (0.9, 0.999), 1e-8
PATIENCE, GAIN = 0.1, 1e-4  # an example stops after a tenth of the steps without a gain of 0.01 %
CONFIRM = 40  # draws of which most have to be wrong before a randomised model counts as fooled; many tries ask this


@dataclass(frozen=True)
class CarliniWagner:
    """Minimises |change|^2 + c max(right logit - largest wrong logit, -kappa), for each example by itself.

    Adam moves the pixels themselves and clips them to [0, 1]; in the tanh space of the original a pixel of exactly 0 or
    1 has no gradient and never moves. `lr` is in the unit of that space, half the range of a pixel; it falls to nothing
    along a cosine, and an example stops once its objective does not fall any more. What was found is then shortened by
    bisection. With `searches` > 0 so many further runs follow: c is bisected for an example
    that was fooled, multiplied by 10 for one that was not. Returns the smallest change found that misclassifies (for a
    randomised model: on most draws), or the last try where there is none.
    """

    steps: int = 1000
    c: float = 1e-4
    kappa: float = 0.0
    lr: float = 0.01
    searches: int = 0

    def __call__(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform) -> Tensor:
        best = images.clone()
        nearest = torch.full((len(images),), torch.inf, device=images.device)
        c = torch.full_like(nearest, self.c)
        low, high = torch.zeros_like(c), torch.full_like(c, torch.inf)
        for _ in range(1 + self.searches):
            fooled = self._run(estimator, images, labels, c, best, nearest)
            high, low = torch.where(fooled, c.minimum(high), high), torch.where(fooled, low, c.maximum(low))
            c = torch.where(high.isfinite(), (low + high) / 2, 10 * c)
        return shorten(estimator, best, images, labels)

    def _run(self, estimator: Estimator, images: Tensor, labels: Tensor, c: Tensor, best: Tensor, nearest: Tensor
             ) -> Tensor:
        """One descent; improves `best` and `nearest` in place and says which examples it fooled."""
        rows = torch.arange(len(images), device=images.device)
        fooled = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        change, mean, square = (torch.zeros_like(images) for _ in range(3))
        lowest = torch.full((len(images),), torch.inf, device=images.device)
        gained = torch.zeros(len(images), device=images.device)
        for step in range(1, self.steps + 1):
            x, moved = images[rows], change[rows]
            found = estimator.estimate(x + moved, labels[rows], self._loss, rows)
            size = lengths(moved).flatten()
            # the estimate's loss is what an attacker raises; the objective is what this one lowers
            objective = size.square() - c[rows] * found.loss
            hit = found.wrong > 0.5
            if estimator.is_random and bool((closer := hit & (size < nearest[rows])).any()):
                check = closer.nonzero().squeeze(1)
                hit[check] = estimator.wrong((x + moved)[check], labels[rows[check]], rows[check], CONFIRM) > 0.5
            fooled[rows] |= hit
            better = hit & (size < nearest[rows])
            best[rows[better]], nearest[rows[better]] = (x + moved)[better], size[better]
            gains = objective < lowest[rows] * (1 - GAIN * lowest[rows].sign())
            lowest[rows] = torch.minimum(lowest[rows], objective)
            gained[rows] = torch.where(gains, float(step), gained[rows])
            gradient = 2 * moved - c[rows].view(-1, 1, 1, 1) * found.gradient
            mean[rows] = m = BETAS[0] * mean[rows] + (1 - BETAS[0]) * gradient
            square[rows] = v = BETAS[1] * square[rows] + (1 - BETAS[1]) * gradient.square()
            rate = self.lr / 2 * (1 + math.cos(math.pi * step / self.steps)) / 2
            direction = (m / (1 - BETAS[0]**step)) / ((v / (1 - BETAS[1]**step)).sqrt() + ADAM_EPS)
            change[rows] = (x + moved - rate * direction).clamp(0, 1) - x
            going = step - gained[rows] < max(PATIENCE * self.steps, 10)
            going &= ~(hit & (size == 0))  # misclassified as it is
            rows = rows[going]
            if not len(rows):
                break
        missed = nearest.isinf()
        best[missed] = (images + change)[missed]
        return fooled

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return margin(logits, labels).clamp_max(self.kappa)
