"""From a space of normalisers to the layers of a network."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rnabench.norm.choice import NormChoice
from rnabench.norm.layers import Norm
from rnabench.settings.spaces import NORMS, NormSpec, Space, parse_space

NormFactory = Callable[[int], nn.Module]
"""channels -> the normalisation layer that stands where the original network has a BN."""


def build_norm(spec: NormSpec, channels: int, layer: str = "a layer") -> Norm:
    """The normaliser for a layer of that many channels. Raises InvalidValue if its groups do not divide them."""
    norm: Norm = NORMS.get(spec.name)(channels, spec.groups(channels, layer), *spec.numbers)
    return norm


def batch_norm(channels: int) -> Norm:
    """A BN, whatever the space."""
    return build_norm(parse_space("bn").norms[0], channels)


def norm_factory(space: Space) -> NormFactory:
    """Builds a choice layer per call, or the plain normaliser if the space has only one."""

    numbers = itertools.count(1)

    def build(channels: int) -> nn.Module:
        layer = f"normalisation layer {next(numbers)}"
        options = {spec.label: build_norm(spec, channels, layer) for spec in space.norms}
        return NormChoice(options) if len(options) > 1 else next(iter(options.values()))

    return build


class InputNormalization(nn.Module):
    """(x - mean) / std per channel, inside the model: attacks and data work on [0, 1] images."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std
