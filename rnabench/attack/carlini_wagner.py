"""The attack of Carlini and Wagner (2017): the smallest Euclidean change that misclassifies, by Adam."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rnabench.attack.attack import Uniform
from rnabench.attack.estimators import Estimator
from rnabench.attack.losses import margin
from rnabench.attack.shorten import shorten
from rnabench.attack.threat import lengths

BETAS, ADAM_EPS = (0.9, 0.999), 1e-8
PATIENCE, GAIN, LEAST = 0.04, 1e-3, 1 / 40  # see CarliniWagner
CLOSE = 0.05  # share of the clean image's margin that counts as being at the boundary
CONFIRM = 40  # draws of which most have to be wrong before a randomised model counts as fooled; many tries ask this


@dataclass(frozen=True)
class CarliniWagner:
    """Minimises |change|^2 + c max(right logit - largest wrong logit, -kappa), for each example by itself.

    Adam moves the pixels themselves and clips them to [0, 1]; in the tanh space of the original a pixel of exactly 0 or
    1 has no gradient and never moves. `lr` is the first step size, in pixel units; an example whose objective has not
    fallen by 0.1 % for 4 % of the steps goes on with half of it, and stops at a fortieth. What was found is shortened
    by bisection. With `searches` > 0 so many further runs follow: c is bisected for an example that was fooled,
    multiplied by 10 for one that was not. Returns the smallest change found that misclassifies, or the last try where
    there is none. For a randomised model the change is one that misclassifies about half of all draws: the choice among
    many tries favours those that were lucky when they were looked at.
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
        """One descent; improves `best` and `nearest` in place and says for which examples c was large enough."""
        rows = torch.arange(len(images), device=images.device)
        fooled = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        change, mean, square = (torch.zeros_like(images) for _ in range(3))
        lowest = torch.full((len(images),), torch.inf, device=images.device)
        waited, rate = torch.zeros_like(lowest), torch.full_like(lowest, self.lr)
        patience = max(PATIENCE * self.steps, 5)
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
            better = hit & (size < nearest[rows])
            best[rows[better]], nearest[rows[better]] = (x + moved)[better], size[better]
            gains = objective < lowest[rows] * (1 - GAIN * lowest[rows].sign())
            # a small c counts as enough if its optimum is at the boundary, not if a first large step once crossed it
            if step == 1:
                margins = -found.loss
            reached = hit | (-found.loss <= CLOSE * margins[rows])
            fooled[rows] = torch.where(objective < lowest[rows], reached, fooled[rows])
            lowest[rows] = torch.minimum(lowest[rows], objective)
            waited[rows] = torch.where(gains, 0.0, waited[rows] + 1)
            stalled = waited[rows] > patience
            rate[rows], waited[rows] = torch.where(stalled, rate[rows] / 2, rate[rows]), torch.where(
                stalled, 0.0, waited[rows])
            gradient = 2 * moved - c[rows].view(-1, 1, 1, 1) * found.gradient
            mean[rows] = m = BETAS[0] * mean[rows] + (1 - BETAS[0]) * gradient
            square[rows] = v = BETAS[1] * square[rows] + (1 - BETAS[1]) * gradient.square()
            direction = (m / (1 - BETAS[0]**step)) / ((v / (1 - BETAS[1]**step)).sqrt() + ADAM_EPS)
            change[rows] = (x + moved - rate[rows].view(-1, 1, 1, 1) * direction).clamp(0, 1) - x
            going = (rate[rows] > self.lr * LEAST) & ~(hit & (size == 0))  # or it is misclassified as it is
            rows = rows[going]
            if not len(rows):
                break
        missed = nearest.isinf()
        best[missed] = (images + change)[missed]
        return fooled

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return margin(logits, labels).clamp_max(self.kappa)
