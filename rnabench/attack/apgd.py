"""Auto-PGD (Croce and Hein 2020): PGD with momentum that halves its own step size where progress stalls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rnabench.attack.attack import Strongest, Uniform
from rnabench.attack.estimators import Estimator
from rnabench.attack.losses import Loss, cross_entropy, targeted_dlr
from rnabench.attack.threat import Threat

MOMENTUM = 0.75
RHO = 0.75  # a step size stays if the loss rose in more than this share of the steps since the last check


@dataclass(frozen=True)
class APGD:
    """`steps` steps from each of `restarts` random starts; returns the strongest iterate of all.

    With `targets` > 0 it runs once per target class instead, with the targeted DLR loss: the classes of the second
    to the (targets + 1)-th largest logit of the clean image. If the estimator is not random, examples that are
    misclassified already are left out of later runs. An Estimator's means over draws stand for loss and gradient.
    """

    threat: Threat
    steps: int = 100
    restarts: int = 1
    loss: Loss = cross_entropy
    targets: int = 0

    def __call__(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform) -> Tensor:
        best = Strongest(images)
        for loss in self._losses(estimator, images, labels):
            for _ in range(self.restarts):
                start = self.threat.start(images, uniform(*images.shape[1:]))
                rows = torch.arange(len(images), device=images.device)
                if not estimator.is_random:
                    rows = rows[best.wrong < 1]
                if len(rows):
                    self._run(estimator, images[rows], labels[rows], start[rows], loss(rows), rows, best)
        return best.images

    def _losses(self, estimator: Estimator, images: Tensor, labels: Tensor) -> list[Callable[[Tensor], Loss]]:
        """For each run, the loss as a function of the examples (rows of the batch) that take part."""
        if not self.targets:
            return [lambda rows: self.loss]
        logits = estimator.mean_logits(images).scatter(1, labels[:, None], -torch.inf)
        ranked = logits.topk(min(self.targets, logits.shape[1] - 1), dim=1).indices
        return [lambda rows, wanted=wanted: lambda z, y: targeted_dlr(z, y, wanted[rows])  # type: ignore[misc]
                for wanted in ranked.T]

    def _run(self, estimator: Estimator, images: Tensor, labels: Tensor, start: Tensor, loss: Loss, rows: Tensor,
             best: Strongest) -> None:
        candidate = previous = start
        found = estimator.estimate(candidate, labels, loss, rows)
        best.offer(candidate, found, rows)
        gradient, last = found.gradient, found.loss
        peak, peak_loss, peak_gradient = candidate.clone(), found.loss.clone(), found.gradient.clone()
        size = torch.full((len(images), 1, 1, 1), 2 * self.threat.eps, device=images.device)
        rises, loss_at_check = torch.zeros_like(last), peak_loss.clone()
        halved = torch.ones_like(last, dtype=torch.bool)
        checks = checkpoints(self.steps)
        since = 0
        for step in range(self.steps):
            share = MOMENTUM if step else 1.0
            ahead = self.threat.project(self.threat.step(candidate, gradient, size), images)
            moved = candidate + share * (ahead - candidate) + (1 - share) * (candidate - previous)
            previous, candidate = candidate, self.threat.project(moved, images)
            found = estimator.estimate(candidate, labels, loss, rows)
            best.offer(candidate, found, rows)
            gradient = found.gradient
            rises += found.loss > last
            last = found.loss
            higher = found.loss > peak_loss
            peak_loss = torch.where(higher, found.loss, peak_loss)
            peak[higher], peak_gradient[higher] = candidate[higher], gradient[higher]
            since += 1
            if step + 1 in checks:
                stalled = (rises <= RHO * since) | (~halved & (loss_at_check >= peak_loss))
                where = stalled.view(-1, 1, 1, 1)
                size = torch.where(where, size / 2, size)
                candidate, gradient = torch.where(where, peak, candidate), torch.where(where, peak_gradient, gradient)
                rises, since, halved, loss_at_check = torch.zeros_like(rises), 0, stalled, peak_loss.clone()


def checkpoints(steps: int) -> set[int]:
    """After how many steps the step size is looked at: 0.22 of all, then at distances that shrink by 0.03 to 0.06."""
    distance, least, less = (max(int(share * steps), 1) for share in (0.22, 0.06, 0.03))
    found, at = set(), 0
    while (at := at + distance) <= steps:
        found.add(at)
        distance = max(distance - less, least)
    return found
