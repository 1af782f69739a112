"""An activation: what builds it, of the number behind its name. Then `--activation relu+leaky0.2` names it."""

from __future__ import annotations

from torch import nn

from rnabench.settings.parts import activation
from rnabench.settings.spaces import Number


@activation("leaky", Number("its slope below 0", default=0.1, most=1))
def leaky(slope: float) -> nn.Module:
    """x above 0, and slope x below."""
    return nn.LeakyReLU(slope)
