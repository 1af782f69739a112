"""The RNA layer: a choice layer over normalisers, in one pass over the activation for per-sample choices."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from rnabench.norm.layers import Norm
from rnabench.norm.statistics import moments, scale_shift
from rnabench.path.choice import ChoiceLayer


class NormChoice(ChoiceLayer):
    """Random normalisation aggregation (section 4): n normalisers, one used per forward pass or per sample.

    With per-sample choices the moments of x are taken once, every option turns them into a scale and a shift [N, C],
    and each sample picks its own: no branch, no second pass. In training mode a batch-dependent option takes its
    statistics over the whole batch, whichever samples use it, exactly as its own module would.
    """

    def mixed(self, x: Tensor, choice: Tensor) -> Tensor:
        options = [cast(Norm, option) for option in self.options]
        if any(option.needs_moments for option in options):
            mean, var = moments(x)
        else:  # only the shape is used
            mean = var = x.new_zeros(1, x.shape[1], dtype=torch.promote_types(x.dtype, torch.float32))
        pixels = x.shape[2] * x.shape[3]
        pairs = [o.coefficients(mean, var, pixels, (choice == k).any()) for k, o in enumerate(options)]
        rows = torch.arange(len(x), device=x.device)
        scale, shift = (
            torch.stack([pair[part].expand(len(x), -1) for pair in pairs])[choice, rows] for part in (0, 1)
        )
        return scale_shift(x, scale, shift)
