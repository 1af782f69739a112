"""Auto-PGD (Croce and Hein 2020): PGD with momentum that halves its own step size where progress stalls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from rnabench.attack.attack import Attack, Strongest, Uniform
from rnabench.attack.estimators import Estimator
from rnabench.attack.losses import LOSSES, Loss, targeted_dlr
from rnabench.attack.resumable import Kept, resumable
from rnabench.attack.threat import Threat
from rnabench.settings.attacks import ATTACKS, CrossCheck

MOMENTUM = 0.75
RHO = 0.75  # a step size stays if the loss rose in more than this share of the steps since the last check


@ATTACKS.register("apgd")
class APGD(Attack):
    """`steps` steps from each of `restarts` random starts; returns the strongest iterate of all.

    With loss `t` it runs once per target class instead, with the targeted DLR loss: the classes of the second to the
    (targets + 1)-th largest logit of the clean image. If the estimator is not random, examples that are misclassified
    already are left out of later runs. An Estimator's means over draws stand for loss and gradient.
    """

    summary = "PGD with momentum and its own step size; loss t: targeted DLR"
    paper = "Croce and Hein 2020"
    version = 2
    random_start = True
    names = ("apgd-ce", "apgd-dlr", "apgd-t")
    crosschecks = (
        CrossCheck("apgd-ce", "pyautoattack", 100), CrossCheck("apgd-dlr", "pyautoattack", 100),
        CrossCheck("apgd-t", "pyautoattack", 32))

    steps: int = Field(default=100, strict=True, ge=1, le=100_000)
    loss: Literal["ce", "margin", "dlr", "t"] = "ce"
    restarts: int = Field(default=1, strict=True, ge=1, le=1000)
    targets: int = Field(default=9, strict=True, ge=1, le=10_000)

    def passes(self, is_random: bool, classes: int) -> tuple[float, float]:
        runs = self.restarts * (min(self.targets, classes - 1) if self.loss == "t" else 1)
        return (self.steps + 1) * runs, 0

    def in_effect(self, eps: float) -> dict[str, Any]:
        unused = {"targets"} if self.loss != "t" else set()
        return {name: value for name, value in super().in_effect(eps).items() if name not in unused}

    def torchattacks(self, norm: str, eps: float, classes: int, samples: int) -> tuple[str, dict[str, Any]] | None:
        if samples or self.loss == "margin":
            return None
        options = {"norm": norm, "eps": eps, "steps": self.steps, "n_restarts": self.restarts}
        if self.loss == "t":
            return "APGDT", options | {"n_classes": min(classes, self.targets + 1)}
        return "APGD", options | {"loss": self.loss}

    def pyautoattack(self) -> tuple[str, dict[str, Any]]:
        return ("apgd_targeted", {}) if self.loss == "t" else ("apgd", {"loss": self.loss})

    def run(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform, threat: Threat) -> Tensor:
        best = Strongest(images)
        for loss in resumable(self._losses(estimator, images, labels), best):
            for _ in resumable(range(self.restarts), best):
                start = threat.start(images, uniform(*images.shape[1:]))
                rows = torch.arange(len(images), device=images.device)
                if not estimator.is_random:
                    rows = rows[best.wrong < 1]
                if len(rows):
                    self._climb(estimator, images[rows], labels[rows], start[rows], loss(rows), rows, best, threat)
        return best.images

    def _losses(self, estimator: Estimator, images: Tensor, labels: Tensor) -> list[Callable[[Tensor], Loss]]:
        """For each run, the loss as a function of the examples (rows of the batch) that take part."""
        if self.loss != "t":
            fixed = LOSSES[self.loss]
            return [lambda rows: fixed]
        logits = estimator.mean_logits(images).scatter(1, labels[:, None], -torch.inf)
        ranked = logits.topk(min(self.targets, logits.shape[1] - 1), dim=1).indices
        return [lambda rows, wanted=wanted: lambda z, y: targeted_dlr(z, y, wanted[rows])  # type: ignore[misc]
                for wanted in ranked.T]

    def _climb(self, estimator: Estimator, images: Tensor, labels: Tensor, start: Tensor, loss: Loss, rows: Tensor,
               best: Strongest, threat: Threat) -> None:
        """One run from `start`; item 0 of the loop looks at it, each one after that makes a step."""
        nothing = torch.zeros(len(images), device=images.device)
        at = Kept(candidate=start, previous=start, gradient=start, last=nothing, peak=start, peak_loss=nothing,
                  peak_gradient=start, size=torch.full((len(images), 1, 1, 1), 2 * threat.eps, device=images.device),
                  rises=nothing, loss_at_check=nothing, halved=torch.ones_like(nothing, dtype=torch.bool), since=0,
                  best=best)
        checks = checkpoints(self.steps)
        for step in resumable(range(self.steps + 1), at):
            if step:
                share = MOMENTUM if step > 1 else 1.0
                ahead = threat.project(threat.step(at.candidate, at.gradient, at.size), images)
                moved = at.candidate + share * (ahead - at.candidate) + (1 - share) * (at.candidate - at.previous)
                at.previous, at.candidate = at.candidate, threat.project(moved, images)
            found = estimator.estimate(at.candidate, labels, loss, rows)
            best.offer(at.candidate, found, rows)
            at.gradient = found.gradient
            if not step:
                at.peak_loss, at.peak_gradient, at.loss_at_check = found.loss, found.gradient, found.loss
            else:
                at.rises = at.rises + (found.loss > at.last)
            at.last = found.loss
            higher = found.loss > at.peak_loss
            at.peak_loss = torch.where(higher, found.loss, at.peak_loss)
            where = higher.view(-1, 1, 1, 1)
            at.peak = torch.where(where, at.candidate, at.peak)
            at.peak_gradient = torch.where(where, at.gradient, at.peak_gradient)
            at.since += step > 0
            if step in checks:
                stalled = (at.rises <= RHO * at.since) | (~at.halved & (at.loss_at_check >= at.peak_loss))
                where = stalled.view(-1, 1, 1, 1)
                at.size = torch.where(where, at.size / 2, at.size)
                at.candidate = torch.where(where, at.peak, at.candidate)
                at.gradient = torch.where(where, at.peak_gradient, at.gradient)
                at.rises, at.since, at.halved = torch.zeros_like(at.rises), 0, stalled
                at.loss_at_check = at.peak_loss


def checkpoints(steps: int) -> set[int]:
    """After how many steps the step size is looked at: 0.22 of all, then at distances that shrink by 0.03 to 0.06."""
    distance, least, less = (max(int(share * steps), 1) for share in (0.22, 0.06, 0.03))
    found, at = set(), 0
    while (at := at + distance) <= steps:
        found.add(at)
        distance = max(distance - less, least)
    return found
