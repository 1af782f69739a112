"""Attacks that look for the smallest Euclidean change that misclassifies: Carlini and Wagner's, and DeepFool."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from rnabench.attack.attack import Attack, Uniform
from rnabench.attack.estimators import Estimator
from rnabench.attack.losses import margin
from rnabench.attack.resumable import Kept, resumable
from rnabench.attack.threat import Threat, lengths
from rnabench.settings.attacks import ATTACKS, CrossCheck

BETAS, ADAM_EPS = (0.9, 0.999), 1e-8
PATIENCE, GAIN, LEAST = 0.04, 1e-3, 1 / 40  # see CarliniWagner
CLOSE = 0.05  # share of the clean image's margin that counts as being at the boundary
NEAR = 3  # boundaries that DeepFool follows after the first step: more of them changed no distance in our measurements
# draws of which most have to be wrong before a randomised model counts as fooled: CW asks this of many tries
CONFIRM_CW, CONFIRM_DEEPFOOL = 40, 10


class MinimalAttack(Attack):
    """What the attacks here have in common; the threat model says nothing to them."""

    bounded = False

    @property
    def losses(self) -> frozenset[str]:
        return frozenset({"margin"})


@ATTACKS.register("cw")
class CarliniWagner(MinimalAttack):
    """Minimises |change|^2 + c max(right logit - largest wrong logit, -kappa), for each example by itself.

    Adam moves the pixels themselves and clips them to [0, 1]; in the tanh space of the original a pixel of exactly 0 or
    1 has no gradient and never moves. `lr` is the first step size, in pixel units; an example whose objective has not
    fallen by 0.1 % for 4 % of the steps goes on with half of it, and stops at a fortieth. What was found is shortened
    by bisection. With `searches` > 0 so many further runs follow: c is bisected for an example that was fooled,
    multiplied by 10 for one that was not. Returns the smallest change found that misclassifies, or the last try where
    there is none. For a randomised model the change is one that misclassifies about half of all draws: the choice among
    many tries favours those that were lucky when they were looked at.
    """

    summary = "smallest L2 change, by Adam"
    paper = "Carlini and Wagner 2017"
    crosschecks: ClassVar[tuple[CrossCheck, ...]] = (
        CrossCheck("cw-c10", "torchattacks", settings={"c": 10.0, "steps": 1000}),)

    steps: int = Field(default=1000, strict=True, ge=1, le=100_000)
    c: float = Field(default=1e-4, gt=0, le=1e10)
    kappa: float = Field(default=0.0, ge=0, le=1e6)
    lr: float = Field(default=0.01, gt=0, le=10)
    searches: int = Field(default=0, strict=True, ge=0, le=100)

    def passes(self, is_random: bool, classes: int) -> tuple[float, float]:
        return self.steps * (1 + self.searches), 10

    def torchattacks(self, norm: str, eps: float, classes: int, samples: int) -> tuple[str, dict[str, Any]] | None:
        return None if samples or self.searches else ("CW", self.model_dump(include={"c", "kappa", "steps", "lr"}))

    def run(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform, threat: Threat) -> Tensor:
        none = torch.full((len(images),), torch.inf, device=images.device)
        best = Kept(images=images.clone(), nearest=none, c=torch.full_like(none, self.c), low=torch.zeros_like(none),
                    high=none.clone())
        for _ in resumable(range(1 + self.searches), best):
            fooled = self._descend(estimator, images, labels, best)
            best.high = torch.where(fooled, best.c.minimum(best.high), best.high)
            best.low = torch.where(fooled, best.low, best.c.maximum(best.low))
            best.c = torch.where(best.high.isfinite(), (best.low + best.high) / 2, 10 * best.c)
        return shorten(estimator, best.images, images, labels)

    def _descend(self, estimator: Estimator, images: Tensor, labels: Tensor, best: Kept) -> Tensor:
        """One descent; improves `best` and says for which examples c was large enough."""
        zeros, none = torch.zeros(len(images), device=images.device), torch.full_like(best.c, torch.inf)
        at = Kept(change=torch.zeros_like(images), mean=torch.zeros_like(images), square=torch.zeros_like(images),
                  rows=torch.arange(len(images), device=images.device), fooled=zeros > 0, lowest=none,
                  waited=zeros.clone(), rate=torch.full_like(zeros, self.lr), margins=zeros.clone(), best=best)
        patience = max(PATIENCE * self.steps, 5)
        for step in resumable(range(1, self.steps + 1), at):
            rows = at.rows
            x, moved, c = images[rows], at.change[rows], best.c[rows]
            found = estimator.estimate(x + moved, labels[rows], self._loss, rows)
            size = lengths(moved).flatten()
            # the estimate's loss is what an attacker raises; the objective is what this one lowers
            objective = size.square() - c * found.loss
            hit = found.wrong > 0.5
            if estimator.is_random and bool((closer := hit & (size < best.nearest[rows])).any()):
                check = closer.nonzero().squeeze(1)
                hit[check] = estimator.wrong((x + moved)[check], labels[rows[check]], rows[check], CONFIRM_CW) > 0.5
            better = hit & (size < best.nearest[rows])
            best.images[rows] = torch.where(better.view(-1, 1, 1, 1), x + moved, best.images[rows])
            best.nearest[rows] = torch.where(better, size, best.nearest[rows])
            lowest = at.lowest[rows]
            gains = objective < lowest * (1 - GAIN * lowest.sign())
            # a small c counts as enough if its optimum is at the boundary, not if a first large step once crossed it
            if step == 1:
                at.margins = -found.loss
            reached = hit | (-found.loss <= CLOSE * at.margins[rows])
            at.fooled[rows] = torch.where(objective < lowest, reached, at.fooled[rows])
            at.lowest[rows] = torch.minimum(lowest, objective)
            waited = torch.where(gains, 0.0, at.waited[rows] + 1)
            stalled = waited > patience
            at.rate[rows] = torch.where(stalled, at.rate[rows] / 2, at.rate[rows])
            at.waited[rows] = torch.where(stalled, 0.0, waited)
            gradient = 2 * moved - c.view(-1, 1, 1, 1) * found.gradient
            at.mean[rows] = m = BETAS[0] * at.mean[rows] + (1 - BETAS[0]) * gradient
            at.square[rows] = v = BETAS[1] * at.square[rows] + (1 - BETAS[1]) * gradient.square()
            direction = (m / (1 - BETAS[0]**step)) / ((v / (1 - BETAS[1]**step)).sqrt() + ADAM_EPS)
            at.change[rows] = (x + moved - at.rate[rows].view(-1, 1, 1, 1) * direction).clamp(0, 1) - x
            going = (at.rate[rows] > self.lr * LEAST) & ~(hit & (size == 0))  # or it is misclassified as it is
            at.rows = rows[going]
            if not len(at.rows):
                break
        missed = best.nearest.isinf()
        best.images = torch.where(missed.view(-1, 1, 1, 1), images + at.change, best.images)
        fooled: Tensor = at.fooled
        return fooled

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return margin(logits, labels).clamp_max(self.kappa)


@ATTACKS.register("deepfool")
class DeepFool(MinimalAttack):
    """At every step, each example goes to the nearest boundary of the linearised model; examples leave the batch when
    they are misclassified.

    The first step looks at the boundaries to the `candidates` wrong classes with the largest logits, later ones at the
    nearest of these. The steps add up, and the sum times 1 + `overshoot` is what is tried; the result is shortened by
    bisection. A randomised model counts as fooled when most of at least 10 fresh draws are wrong: one lucky draw does
    not end the attack.
    """

    summary = "nearest linearised boundary"
    paper = "Moosavi-Dezfooli et al. 2016"
    crosschecks = (CrossCheck("deepfool", "torchattacks"),)

    steps: int = Field(default=50, strict=True, ge=1, le=100_000)
    overshoot: float = Field(default=0.02, ge=0, le=10)
    candidates: int = Field(default=10, strict=True, ge=1, le=10_000)

    def passes(self, is_random: bool, classes: int) -> tuple[float, float]:
        usual = min(self.steps, 5)  # most examples are through after a few steps
        return usual * classes, 2 * usual

    def torchattacks(self, norm: str, eps: float, classes: int, samples: int) -> tuple[str, dict[str, Any]] | None:
        return None if samples else ("DeepFool", {"steps": self.steps, "overshoot": self.overshoot})

    def run(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform, threat: Threat) -> Tensor:
        others = estimator.mean_logits(images).scatter(1, labels[:, None], -torch.inf)
        targets = others.topk(min(self.candidates, others.shape[1] - 1), dim=1).indices
        walk = Kept(images=images.clone(), change=torch.zeros_like(images), near=targets[:, :NEAR].clone(),
                    rows=torch.arange(len(images), device=images.device))
        for step in resumable(range(self.steps), walk):
            right = estimator.wrong(walk.images[walk.rows], labels[walk.rows], walk.rows, CONFIRM_DEEPFOOL) <= 0.5
            walk.rows = rows = walk.rows[right]
            if not len(rows):
                break
            boundaries = (walk.near if step else targets)[rows]
            gaps, slopes = estimator.gaps(walk.images[rows], labels[rows], boundaries, rows)
            steepness = slopes.flatten(2).norm(dim=2)
            distance = (gaps.abs() / steepness.clamp_min(1e-12)).masked_fill(steepness == 0, torch.inf)
            if step == 0:
                walk.near[rows] = targets[rows].gather(1, distance.T.argsort(1)[:, : walk.near.shape[1]])
            nearest, target = distance.min(0)
            each = torch.arange(len(rows), device=images.device)
            length = (gaps[target, each].abs() + 1e-4) / steepness[target, each].square().clamp_min(1e-24)
            step_of = torch.where(nearest.isfinite(), length, 0.0).view(-1, 1, 1, 1) * slopes[target, each]
            walk.change[rows] += step_of
            walk.images[rows] = (images[rows] + (1 + self.overshoot) * walk.change[rows]).clamp(0, 1)
        return shorten(estimator, walk.images, images, labels)


def shorten(estimator: Estimator, found: Tensor, images: Tensor, labels: Tensor, halvings: int = 7) -> Tensor:
    """The last step of both: `found` moved towards `images` by bisection; examples that are not misclassified, or not
    moved, stay as they are.

    For a model without randomness only: where draws decide, the boundary is not a point on the way.
    """
    if estimator.is_random:
        return found
    rows = (found != images).flatten(1).any(1).nonzero().squeeze(1)
    if len(rows):
        rows = rows[estimator.wrong(found[rows], labels[rows], rows) > 0.5]
    if not len(rows):
        return found
    far = torch.ones(len(rows), 1, 1, 1, device=images.device)
    share = Kept(near=torch.zeros_like(far), far=far)
    start, change = images[rows], found[rows] - images[rows]
    for _ in resumable(range(halvings), share):
        middle = (share.near + share.far) / 2
        wrong = (estimator.wrong(start + middle * change, labels[rows], rows) > 0.5).view(-1, 1, 1, 1)
        share.near, share.far = torch.where(wrong, share.near, middle), torch.where(wrong, middle, share.far)
    found = found.clone()
    found[rows] = torch.where(share.far < 1, start + share.far * change, found[rows])
    return found
