"""A network and its random defence: `--defence`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from rnabench.settings.parts import DEFENCE_KINDS, defences


@dataclass(frozen=True)
class Undefended:
    """What a defence is built from: `normalization` maps images in [0, 1] to what `network`, of architecture `arch`,
    maps to logits. `another()` is a network like that with initial weights of its own."""

    normalization: nn.Module
    network: nn.Module
    another: Callable[[], nn.Module]
    arch: str


def defended(parts: Undefended, defence: str) -> nn.Sequential:
    """The network from images in [0, 1] to logits: what is in front of the network, and the network. Raises
    InvalidValue for what is no defence, and for one that this network cannot have."""
    chosen = defences(defence)
    if not chosen:
        return nn.Sequential(parts.normalization, parts.network)
    network: nn.Sequential = DEFENCE_KINDS[chosen[0].kind].build(parts, *chosen[0].numbers)
    return network
