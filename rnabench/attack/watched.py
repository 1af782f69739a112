"""A network that tells of every pass through it, so that progress can move while an attack is at work."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rnabench.attack.estimators import OnPath
from rnabench.path.path import Path

GRADIENT_COST = 3.0  # forward passes that a pass with a gradient of the images takes about as long as

OnPass = Callable[[float], None]
"""Told of each pass: its images, times what it costs in forward passes."""


def nobody(passes: float) -> None:
    """Whom to tell where nobody asks."""


class Watched:
    """Any network under attack, of which `tell` hears all passes."""

    def __init__(self, network: OnPath, tell: OnPass) -> None:
        self.network, self.tell = network, tell

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        view = self.network.on(path)

        def logits_of(images: Tensor) -> Tensor:
            logits = view(images)
            followed = torch.is_grad_enabled() and images.requires_grad
            self.tell(len(images) * (GRADIENT_COST if followed else 1.0))
            return logits

        return logits_of
