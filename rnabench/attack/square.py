"""The Square attack (Andriushchenko et al. 2020): random search that asks for outputs only, never for gradients."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from rnabench.attack.attack import Attack, Uniform
from rnabench.attack.estimators import Estimator
from rnabench.attack.losses import margin
from rnabench.attack.resumable import Kept, resumable
from rnabench.attack.threat import Threat
from rnabench.settings.attacks import ATTACKS, CrossCheck

SHARE = 0.8  # of the image that the first square covers
BLOCK = 64  # queries whose random numbers are drawn at once
COMPACT = 8  # queries after which what is broken is left out: to ask which it is, the host waits for the device


@ATTACKS.register("square")
class Square(Attack):
    """`queries` tries of a coloured square at a random place; a try stays if it raises the margin loss.

    Its size is a share of the image that starts at 0.8 and shrinks as the published schedule for 10,000 queries says,
    rescaled to `queries`. A model without randomness is asked once per try, and an example stops when it is
    misclassified. A randomised one is asked for the mean over the estimator's draws of the try *and* of what it would
    replace, on the same draws (a lucky draw kept from an earlier try would block all later ones); an example stops
    when it is misclassified on all draws.
    """

    summary = "black-box random search"
    paper = "Andriushchenko et al. 2020"
    version = 2
    norms = ("Linf",)
    random_start = True
    numbered = "queries"
    crosschecks = (CrossCheck("square1000", "pyautoattack", 100),)

    queries: int = Field(default=5000, strict=True, ge=1, le=1_000_000)

    @property
    def losses(self) -> frozenset[str]:
        return frozenset()

    def passes(self, is_random: bool, classes: int) -> tuple[float, float]:
        return 0, self.queries * (2 if is_random else 1) + 1

    def torchattacks(self, norm: str, eps: float, classes: int, samples: int) -> tuple[str, dict[str, Any]] | None:
        return None if samples else ("Square", {"norm": norm, "eps": eps, "n_queries": self.queries})

    def pyautoattack(self) -> tuple[str, dict[str, Any]]:
        return "square", {"n_queries": self.queries}

    def run(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform, threat: Threat) -> Tensor:
        eps, (channels, height, width) = threat.eps, images.shape[1:]
        stripes = _signs(uniform(channels, 1, width))
        start = threat.project(images + eps * stripes, images)
        found = estimator.estimate(start, labels, margin, gradient=False)
        best = Kept(images=start, loss=found.loss.clone(), wrong=found.wrong.clone(), numbers=None, rows=None)
        across = torch.arange(width, device=images.device).view(1, 1, 1, -1)
        down = torch.arange(height, device=images.device).view(1, 1, -1, 1)
        for query in resumable(range(self.queries), best):
            if query % BLOCK == 0:
                best.numbers = uniform(BLOCK, 2 + channels)
            if query % COMPACT == 0:  # in between, what is broken stays as it is
                best.rows = (best.wrong < 1).nonzero().squeeze(1)
            rows = best.rows
            if not len(rows):
                break
            standing = best.wrong[rows] < 1
            now, drawn = best.images[rows], best.numbers[rows, query % BLOCK]
            side = min(max(round((self._size(query) * height * width) ** 0.5), 1), height, width)
            top, left = (drawn[:, k].mul(room - side + 1).floor().view(-1, 1, 1, 1)
                         for k, room in ((0, height), (1, width)))
            inside = (down >= top) & (down < top + side) & (across >= left) & (across < left + side)
            colour = _signs(drawn[:, 2:]).view(-1, channels, 1, 1)
            tried = threat.project(now + 2 * eps * colour * inside, images[rows])
            if estimator.is_random:
                both = estimator.estimate(torch.cat([tried, now]), labels[rows].repeat(2), margin, rows.repeat(2),
                                          gradient=False)
                new, old = both.at(slice(None, len(rows))), both.at(slice(len(rows), None))
                better, old_loss, old_wrong = new.loss > old.loss, old.loss, old.wrong
            else:
                new = estimator.estimate(tried, labels[rows], margin, rows, gradient=False)
                old_loss, old_wrong = best.loss[rows], best.wrong[rows]
                better = (new.loss > old_loss) | (new.wrong > old_wrong)
            best.images[rows] = torch.where((standing & better).view(-1, 1, 1, 1), tried, now)
            best.loss[rows] = torch.where(standing, torch.where(better, new.loss, old_loss), best.loss[rows])
            best.wrong[rows] = torch.where(standing, torch.where(better, new.wrong, old_wrong), best.wrong[rows])
        strongest: Tensor = best.images
        return strongest

    def _size(self, query: int) -> float:
        """The square's share of the image at this query."""
        at = query / self.queries * 10_000
        halvings = sum(at > border for border in (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000))
        return SHARE * 0.5**halvings


def _signs(uniform: Tensor) -> Tensor:
    return torch.where(uniform < 0.5, -1.0, 1.0)
