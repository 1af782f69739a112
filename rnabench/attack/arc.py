"""ARC, the attack on randomised classifiers that goes from path to path (Dbouk and Shanbhag 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from rnabench.attack.attack import Attack, Uniform
from rnabench.attack.estimators import GRADIENT_COST, Estimator
from rnabench.attack.resumable import Kept, resumable
from rnabench.attack.threat import Threat
from rnabench.settings.attacks import ATTACKS

BEYOND = 0.05  # of the step size: how far beyond a boundary a step aims
LEAST = 1e-12


@ATTACKS.register("arc")
class ARC(Attack):
    """Where the mean of the losses is flat, as where the gradients of two paths cancel, some paths can still be fooled.

    The estimator's paths are drawn once and held. At every step, a change whose length is `step_share` of eps is built
    from path to path: on a path that still classifies the image rightly, the nearest of the linearised boundaries to
    the `candidates` wrong classes with the largest logits says where to go, and the change is turned just so far that
    it crosses this boundary too: what was built for earlier paths is given up no more than needed. A change stays if no
    more paths are right than before. The gradients are those of logits, path by path, so that what a protocol averages
    does not matter.

    The released code steps towards a path's second largest logit, whatever its first is; here a path that is fooled
    already is passed over. Random starts are left out: nothing here stops at a stationary point of a mean.
    """

    summary = "from path to path, to the nearest boundary of each, while the share of right paths does not rise"
    paper = "Dbouk and Shanbhag 2022"

    steps: int = Field(default=20, strict=True, ge=1, le=100_000)
    step_share: float = Field(default=1.0, gt=0, le=1)
    candidates: int = Field(default=4, strict=True, ge=1, le=10_000)

    @property
    def losses(self) -> frozenset[str]:
        return frozenset({"margin"})

    def passes(self, is_random: bool, classes: int) -> tuple[float, float]:
        return self.passes_of(0, classes)

    def passes_of(self, samples: int, classes: int) -> tuple[float, float]:
        """Each step tries K paths, a pass forward and one back for each candidate, and asks all K about each try."""
        paths, back = max(1, samples), min(self.candidates, classes - 1)
        return (self.steps * paths * (1 + (GRADIENT_COST - 1) * back) / GRADIENT_COST,
                (self.steps * paths + 1) * paths)

    def run(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform, threat: Threat) -> Tensor:
        members = estimator.members()
        everything = torch.arange(len(images), device=images.device)
        best = Kept(images=images.clone(), logits=_logits(members, images, everything))
        for _ in resumable(range(self.steps), best):
            centre = best.images.clone()
            for number, member in resumable(list(enumerate(members)), best):
                logits = best.logits
                rows = (logits[number].argmax(1) == labels).nonzero().squeeze(1)  # the host waits for the device
                if not len(rows):
                    continue
                own = labels[rows]
                change = self._change(member, logits[number, rows], best.images[rows], centre[rows], own, rows, threat)
                tried = threat.project(centre[rows] + change, images[rows])
                found = _logits(members, tried, rows)
                better = _right(found, own) <= _right(logits[:, rows], own)
                best.images[rows] = torch.where(better.view(-1, 1, 1, 1), tried, best.images[rows])
                logits[:, rows] = torch.where(better.view(1, -1, 1), found, logits[:, rows])
            if torch.equal(best.images, centre):
                break
        strongest: Tensor = best.images
        return strongest

    def _change(self, member: Estimator, logits: Tensor, now: Tensor, centre: Tensor, labels: Tensor, rows: Tensor,
                threat: Threat) -> Tensor:
        """From `centre`, in the place of the change to `now`: one that crosses a boundary of this path, too."""
        size = self.step_share * threat.eps
        others = logits.scatter(1, labels[:, None], -torch.inf)
        targets = others.topk(min(self.candidates, others.shape[1] - 1), dim=1).indices
        gaps, slopes = member.gaps(now, labels, targets, rows)
        directions = threat.step(torch.zeros_like(slopes).flatten(0, 1), slopes.flatten(0, 1), 1.0).view_as(slopes)
        steepness = (slopes * directions).flatten(2).sum(2)  # by how much a gap grows per unit of length: the dual norm
        distances = (-gaps / steepness.clamp_min(LEAST)).masked_fill(steepness == 0, torch.inf)
        distance, target = distances.min(0)
        each = torch.arange(len(rows), device=rows.device)
        direction, slope = directions[target, each], slopes[target, each]
        change = now - centre
        along = (slope * change).flatten(1).sum(1) / steepness[target, each].clamp_min(LEAST)
        from_centre = distance + along
        # |change + share direction| <= size + share, so that after shrinking to size at least
        # size (along + share) / (size + share) of the way is made: as much as is needed from this share on
        share = torch.where(from_centre < size, size * distance / (size - from_centre).clamp_min(LEAST) + BEYOND * size,
                            size)
        turned = change + share.view(-1, 1, 1, 1) * direction
        return turned * (size / threat.length(turned).clamp_min(LEAST)).view(-1, 1, 1, 1)


def _logits(members: Sequence[Estimator], images: Tensor, rows: Tensor) -> Tensor:
    """[paths, n, classes]."""
    found = Kept(pieces=[])
    with torch.no_grad():
        for member in resumable(members, found):
            found.pieces += list(member.forward(images, rows))
        return torch.cat(found.pieces)


def _right(logits: Tensor, labels: Tensor) -> Tensor:
    """On how many paths each image is classified rightly, [n]."""
    return (logits.argmax(-1) == labels).sum(0)
