"""What every attack is: a function of an estimator, images and labels, with its random numbers handed over."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from rnabench.attack.estimators import Estimate, Estimator


class Uniform(Protocol):
    """A source of random numbers, one stream per example."""

    def __call__(self, *shape: int) -> Tensor:
        """The next numbers on [0, 1): [N, *shape], for all N examples of the batch, on the images' device."""


class Attack(Protocol):
    """Images [N, C, H, W] in [0, 1] and labels int64 [N] to adversarial images in [0, 1]."""

    def __call__(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform) -> Tensor: ...


class Strongest:
    """The best candidate so far for each example: misclassified on most draws; of equals, with the highest loss.

    An attack that fails thus hands back its best try, not the image that it started from.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images.detach().clone()
        self.wrong = torch.full((len(images),), -1.0, device=images.device)
        self.loss = torch.full((len(images),), -torch.inf, device=images.device)

    def offer(self, candidate: Tensor, found: Estimate, rows: Tensor | None = None) -> None:
        """Keep what is better; `rows` int64 says which examples the candidates belong to (default: all)."""
        places = torch.arange(len(self.images), device=self.images.device) if rows is None else rows
        better = (found.wrong > self.wrong[places]) | (
            (found.wrong == self.wrong[places]) & (found.loss > self.loss[places]))
        chosen = places[better]
        self.images[chosen] = candidate.detach()[better]
        self.wrong[chosen], self.loss[chosen] = found.wrong[better], found.loss[better]
