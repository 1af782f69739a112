"""The RNA layer: a choice layer over normalisers, in one pass over the activation for per-sample choices."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from rnabench.norm.layers import Norm
from rnabench.norm.statistics import sample_statistics, scale_shift
from rnabench.path.choice import ChoiceLayer


class NormChoice(ChoiceLayer):
    """Random normalisation aggregation (section 4): n normalisers, one used per forward pass or per sample.

    With per-sample choices every statistic of x that some option needs is taken once, every option turns them into a
    scale and a shift [N, C], and each sample picks its own: no branch, no second pass. In training mode a
    batch-dependent option takes its statistics over the whole batch, whichever samples use it, exactly as its own
    module would.
    """

    def mixed(self, x: Tensor, choice: Tensor) -> Tensor:
        options = [cast(Norm, option) for option in self.options]
        statistics = sample_statistics(x, frozenset().union(*(option.needs for option in options)))
        pairs = [option.coefficients(statistics, (choice == k).any() if option.moves else None)
                 for k, option in enumerate(options)]
        rows = torch.arange(len(x), device=x.device)
        scale, shift = (
            torch.stack([pair[part].expand(len(x), -1) for pair in pairs])[choice, rows] for part in (0, 1)
        )
        return scale_shift(x, scale, shift)
