"""A random defence as a part of any network: what builds it. Then `train --defence holes0.2` names it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rnabench.model.defended import Undefended
from rnabench.path.seeds import SeedLayer
from rnabench.settings.parts import defence
from rnabench.settings.spaces import Number


class Holes(SeedLayer):
    """Makes a share of an image's pixels grey. Which ones follows from the path: a draw that protocols freeze."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(self.uniform((1, *x.shape[2:]), x.device) < self.share, 0.5, x)


@defence("holes", Number("the share of pixels", default=0.1, most=1))
def holes(parts: Undefended, share: float) -> nn.Sequential:
    """In front of the input normalisation."""
    return nn.Sequential(nn.Sequential(Holes(share), parts.normalization), parts.network)
