"""An architecture: a function that builds the network, with what its width means."""

from __future__ import annotations

from torch import nn

from rnabench.model.normalizers import NormFactory
from rnabench.settings.architectures import architecture


@architecture("two-layers", width=16, width_means="channels", image_size=32)
def two_layers(norm: NormFactory, classes: int, width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False), norm(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False), norm(width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes),
    )
