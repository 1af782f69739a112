"""A random choice among several networks, which are trained together by the same objective."""

from __future__ import annotations

from torch import nn

from rnabench.model.defended import Undefended
from rnabench.model.operators import SeparateChoice
from rnabench.settings.parts import defence
from rnabench.settings.spaces import Number


@defence("ensemble", Number("how many networks there are", 3, 16, whole=True), options=int)
def ensemble(parts: Undefended, members: float) -> nn.Sequential:
    """`members` networks with initial weights of their own, of which a path takes one; the first is the network that
    would be alone. Where they choose inside, a path has one choice for all of them."""
    networks = {"first": parts.network} | {f"member{number}": parts.another() for number in range(2, int(members) + 1)}
    chosen = SeparateChoice(networks) if len(networks) > 1 else parts.network
    return nn.Sequential(parts.normalization, chosen)
