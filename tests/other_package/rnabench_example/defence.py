"""A randomised defence: a torch module that draws from torch's global generator, so that its draws can be frozen."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rnabench.defence.importing import DEFENCES


class Noisy(nn.Module):
    """Adds fresh Gaussian noise to every image before the network sees it."""

    def __init__(self, network: nn.Module, deviation: float) -> None:
        super().__init__()
        self.network, self.deviation = network, deviation

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images + self.deviation * torch.randn_like(images))
        return logits


class Differences(nn.Module):
    """Tells stripes along the rows from stripes along the columns by how much neighbours differ."""

    def forward(self, images: Tensor) -> Tensor:
        return 10 * torch.stack([images.diff(dim=dim).abs().mean((1, 2, 3)) for dim in (2, 3)], 1)


@DEFENCES.register("noisy-differences")
def noisy_differences() -> nn.Module:
    """[0, 1] images [N, 3, H, W] to logits [N, 2]; a trained network would be loaded here."""
    return Noisy(Differences(), deviation=0.05)
