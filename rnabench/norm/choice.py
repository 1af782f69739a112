"""The RNA layer: a choice layer over normalisers, in one pass over the activation for per-sample choices."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from rnabench.norm.layers import Norm
from rnabench.norm.stacked import Stack, stackable, stacked
from rnabench.norm.statistics import plain_formulas, sample_statistics, scale_shift
from rnabench.path.choice import ChoiceLayer


class NormChoice(ChoiceLayer):
    """Random normalisation aggregation (section 4): n normalisers, one used per forward pass or per sample.

    With per-sample choices every statistic of x that some option needs is taken once, and each sample picks the scale
    and shift [N, C] that its option makes of them: no branch, no second pass. In training mode a batch-dependent option
    takes its statistics over the whole batch, whichever samples use it, exactly as its own module would.
    """

    def __init__(self, options: Mapping[str, nn.Module]) -> None:
        super().__init__(options)
        self._stacks: dict[tuple[bool, torch.device], Stack] = {}

    def mixed(self, x: Tensor, choice: Tensor) -> Tensor:
        options = [cast(Norm, option) for option in self.options]
        # in evaluation mode the two of RNA are faster by themselves: running statistics need no averages
        stacks = len(options) > 2 or options[0].training
        if plain_formulas() or not (stacks and stackable(options)):
            return self.one_by_one(x, choice)
        key = options[0].training, x.device
        if key not in self._stacks:
            self._stacks[key] = Stack(options, *key)
        return stacked(x, choice, self._stacks[key], options, partial(self._again, options[0].training))

    def _again(self, training: bool, x: Tensor, choice: Tensor) -> Tensor:
        """`one_by_one` as in an earlier forward pass of stacked options, whatever has changed since."""
        options = [cast(Norm, option) for option in self.options]
        before = [(option.training, option.update_running) for option in options]
        try:
            for option in options:
                option.training, option.update_running = training, False
            return self.one_by_one(x, choice)
        finally:
            for option, (mode, moving) in zip(options, before, strict=True):
                option.training, option.update_running = mode, moving

    def one_by_one(self, x: Tensor, choice: Tensor) -> Tensor:
        """The same for any options: each makes its own scale and shift for all samples."""
        options = [cast(Norm, option) for option in self.options]
        statistics = sample_statistics(x, frozenset().union(*(option.needs for option in options)))
        pairs = [option.coefficients(statistics, (choice == k).any() if option.moves else None)
                 for k, option in enumerate(options)]
        rows = torch.arange(len(x), device=x.device)
        scale, shift = (
            torch.stack([pair[part].expand(len(x), -1) for pair in pairs])[choice, rows] for part in (0, 1)
        )
        return scale_shift(x, scale, shift)
