"""A random number of bits for each colour: a defence by a gradient that is zero (Xu et al., NDSS 2018, at random)."""

from __future__ import annotations

from torch import Tensor, nn

from rnabench.model.defended import Undefended
from rnabench.path.choice import ChoiceLayer
from rnabench.settings.parts import defence

BITS = 3, 4, 5


class BitDepth(nn.Module):
    """Images in [0, 1] rounded to 2^bits values, 0 and 1 among them; the derivative is 0 almost everywhere."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.steps = 2**bits - 1

    def forward(self, x: Tensor) -> Tensor:
        rounded: Tensor = (x * self.steps).round() / self.steps
        return rounded


@defence("bit-depth", options=lambda: len(BITS))
def bit_depth(parts: Undefended) -> nn.Sequential:
    """3, 4 or 5 bits."""
    choice = ChoiceLayer({f"{bits}-bit": BitDepth(bits) for bits in BITS})
    return nn.Sequential(nn.Sequential(choice, parts.normalization), parts.network)
