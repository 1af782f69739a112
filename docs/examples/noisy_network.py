"""Somebody's randomised network, made ready to be judged. In this folder:

    rnabench conform noisy_network:defence --model-args deviation=0.2
    rnabench attack --model noisy_network:defence --model-args deviation=0.2
    rnabench attack --model noisy_network:per_image --model-args deviation=0.2 --granularity sample

A network that draws with torch.randn needs no change: its draws are found, seeded, frozen and replayed. What it does
need is pixels in [0, 1] and logits, so `Ready` normalises inside. With the six lines of `PerImage` every image has a
draw of its own: it is handed a generator for each, because it says `draws_per_sample`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MEAN, STD = 0.5, 0.25


class Theirs(nn.Module):
    """The network as its authors wrote it: it wants normalised images, and adds noise to its features."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.features, self.classifier, self.deviation = nn.Linear(3 * 32 * 32, 64), nn.Linear(64, 10), deviation

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        features = self.features(x.flatten(1)).relu()
        noise = torch.randn_like(features) if noise is None else noise
        logits: Tensor = self.classifier(features + self.deviation * noise)
        return logits


class Ready(nn.Module):
    """Images [N, 3, H, W] in [0, 1] to logits [N, classes]."""

    def __init__(self, network: Theirs) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network((images - MEAN) / STD)
        return logits


class PerImage(Ready):
    draws_per_sample = True

    def forward(self, images: Tensor, generator: list[torch.Generator]) -> Tensor:  # type: ignore[override]
        noise = torch.stack([torch.randn(64, generator=each, device=images.device) for each in generator])
        logits: Tensor = self.network((images - MEAN) / STD, noise)
        return logits


def defence(deviation: float) -> nn.Module:
    torch.manual_seed(0)  # here its trained weights would be loaded, or --model-weights names them
    return Ready(Theirs(deviation))


def per_image(deviation: float) -> nn.Module:
    torch.manual_seed(0)
    return PerImage(Theirs(deviation))
