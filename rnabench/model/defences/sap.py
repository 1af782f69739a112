"""Stochastic activation pruning (Dhillon et al., ICLR 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rnabench.errors import InvalidValue
from rnabench.model.defended import Undefended
from rnabench.model.replacing import replace
from rnabench.path.seeds import SeedLayer
from rnabench.settings.parts import defence
from rnabench.settings.spaces import Number


class Pruning(SeedLayer):
    """Keeps value a_j of an image's n activations with the probability k_j = 1 - (1 - p_j)^r that r draws with
    p_j = |a_j| / sum |a| hit it at least once, and divides it by k_j: the mean over draws is a_j (section 3).

    r is `draws` n. Each value is kept independently of the others, as in the attack of Athalye et al. (2018); the
    paper's r draws of one sample are slightly dependent. The derivative is that of a path, by k_j too: it lies between
    1/2 and 1 where a value is kept, but knows nothing of what would have been kept for another value.
    """

    def __init__(self, draws: float) -> None:
        super().__init__()
        self.draws = draws

    def kept(self, x: Tensor) -> Tensor:
        """k_j, of the shape of x."""
        size = x.float().abs()
        total = size.flatten(1).sum(1).clamp_min(1e-30).view(-1, *[1] * (x.dim() - 1))
        share = (size / total).clamp_max(1 - 1e-6)
        return -torch.expm1(self.draws * x[0].numel() * torch.log1p(-share))

    def forward(self, x: Tensor) -> Tensor:
        kept = self.kept(x)
        chosen = self.uniform(x.shape[1:], x.device) < kept
        return torch.where(chosen, x / torch.where(chosen, kept, 1.0), 0.0).to(x.dtype)


@defence("sap", Number("draws, as a share of the activations", 1, 100))
def sap(parts: Undefended, draws: float) -> nn.Sequential:
    """Behind every activation, in training too; the paper prunes networks that were trained without. Raises
    InvalidValue for a network without nn.ReLU modules, which are what activations replace."""
    if not replace(parts.network, nn.ReLU, lambda relu: nn.Sequential(relu, Pruning(draws))):
        raise InvalidValue("defence", "sap", f"another one: {parts.arch} has no nn.ReLU modules", ["rse"])
    return nn.Sequential(parts.normalization, parts.network)
