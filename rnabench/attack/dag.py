"""Dense Adversary Generation on one target, the image: steps of one length towards a random wrong class."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from rnabench.attack.attack import Uniform
from rnabench.attack.estimators import Estimator
from rnabench.attack.losses import Loss
from rnabench.attack.minimal import CONFIRM_CW, MinimalAttack
from rnabench.attack.resumable import Kept, resumable
from rnabench.attack.threat import Threat
from rnabench.settings.attacks import ATTACKS
from rnabench.settings.pixels import Pixels

GAMMA = 0.5 / 255  # eq. 2.3 of the thesis, which has intensities up to 255


@ATTACKS.register("dag")
class DAG(MinimalAttack):
    """Every image goes towards one wrong class, drawn uniformly, by `gamma` r / |r|_inf, where r is the gradient of
    that class's logit less the right one's (Algorithm 1 of the thesis, Xie 2020, with the image as the only target).

    An image stands still once it is misclassified; after `steps` it stays where it has come to. `gamma` is in pixel
    units. Images are clipped to [0, 1] at every step, where the thesis does so once, at the end: what is judged is an
    image. A randomised model counts as fooled when most of at least 40 fresh draws are wrong.
    """

    summary = "steps of one length towards a random wrong class"
    paper = "Xie et al. 2017"

    steps: int = Field(default=150, strict=True, ge=1, le=100_000)
    gamma: Pixels = Field(default=GAMMA, gt=0)

    def passes(self, is_random: bool, classes: int) -> tuple[float, float]:
        return min(self.steps, 30), 0  # most examples are through by then

    def run(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform, threat: Threat) -> Tensor:
        drawn = uniform(1)[:, 0]
        walk = Kept(images=images.clone(), rows=torch.arange(len(images), device=images.device))
        for _ in resumable(range(self.steps), walk):
            rows = walk.rows
            here = estimator.estimate(walk.images[rows], labels[rows], towards_drawn(drawn[rows]), rows)
            hit = here.wrong > 0.5
            if estimator.is_random and bool(hit.any()):  # many steps are looked at: none is to be lucky
                check = hit.nonzero().squeeze(1)
                hit[check] = estimator.wrong(walk.images[rows[check]], labels[rows[check]], rows[check],
                                             CONFIRM_CW) > 0.5
            rows, gradient = rows[~hit], here.gradient[~hit]
            if not len(rows):
                break
            walk.images[rows] = (walk.images[rows] + of_length(gradient, self.gamma)).clamp(0, 1)
            walk.rows = rows
        found: Tensor = walk.images
        return found


def wrong_classes(uniform: Tensor, labels: Tensor, classes: int) -> Tensor:
    """A class other than `labels` int64 [N] for each number of `uniform` [N] in [0, 1): each as likely as any other."""
    # the product may round up to classes - 1, which would be the label itself
    further = (uniform * (classes - 1)).long().clamp_max(classes - 2)
    return (labels + 1 + further) % classes


def towards(targets: Tensor) -> Loss:
    """The logit of `targets` int64 [N] less the right class's: the negative of eq. 2.1, so that a step raises it."""
    def gap(logits: Tensor, labels: Tensor) -> Tensor:
        def at(classes: Tensor) -> Tensor:
            return logits.gather(-1, classes.expand(logits.shape[:-1]).unsqueeze(-1)).squeeze(-1)

        return at(targets) - at(labels)

    return gap


def towards_drawn(uniform: Tensor) -> Loss:
    """The same for the wrong classes that the numbers [N] in [0, 1) stand for."""
    return lambda logits, labels: towards(wrong_classes(uniform, labels, logits.shape[-1]))(logits, labels)


def of_length(gradient: Tensor, gamma: float) -> Tensor:
    """`gradient` [..., C, H, W] scaled so that its largest entry is `gamma` (eq. 2.3); zero stays zero."""
    largest = gradient.abs().amax((-3, -2, -1), keepdim=True)
    return gamma * (gradient / torch.where(largest > 0, largest, 1.0))
