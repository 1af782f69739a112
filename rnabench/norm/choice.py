"""The RNA layer: a choice layer over normalisers, in one pass over the activation for per-sample choices."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from rnabench.norm.layers import Norm
from rnabench.norm.shared_batch import anywhere
from rnabench.norm.stacked import Stack, stackable, stacked
from rnabench.norm.statistics import plain_formulas, sample_statistics, scale_shift
from rnabench.path.choice import ChoiceLayer
from rnabench.settings.deployment import StatisticsFrom

_one_at_a_time = threading.RLock()

Modes = tuple[tuple[bool, StatisticsFrom], ...]
"""Of each option, whether it is in training mode and where its statistics of batches come from."""


class NormChoice(ChoiceLayer):
    """Random normalisation aggregation (section 4): n normalisers, one used per forward pass or per sample.

    With per-sample choices every statistic of x that some option needs is taken once, and each sample picks the scale
    and shift [N, C] that its option makes of them: no branch, no second pass. In training mode a batch-dependent option
    takes its statistics over the whole batch, whichever samples use it, exactly as its own module would.
    """

    def __init__(self, options: Mapping[str, nn.Module]) -> None:
        super().__init__(options)
        self._stacks: dict[tuple[Modes, torch.device], Stack] = {}

    def mixed(self, x: Tensor, choice: Tensor) -> Tensor:
        options = [cast(Norm, option) for option in self.options]
        # in evaluation mode the two of RNA are faster by themselves: running statistics need no averages
        stacks = len(options) > 2 or options[0].training
        if plain_formulas() or not (stacks and stackable(options)):
            return self.one_by_one(x, choice)
        modes = tuple((option.training, option.statistics) for option in options)
        key = modes, x.device
        if key not in self._stacks:
            self._stacks[key] = Stack(options, x.device)
        stack = self._stacks[key]
        for option in options if stack.over_batch else ():
            if option.mixes_batch:
                option.expect_several(len(x), x.shape[2] * x.shape[3])
        return stacked(x, choice, stack, options, partial(self._again, modes))

    def _again(self, modes: Modes, x: Tensor, choice: Tensor) -> Tensor:
        """`one_by_one` as in an earlier forward pass of stacked options, whatever has changed since."""
        options = [cast(Norm, option) for option in self.options]
        with _one_at_a_time:  # another thread's would put back what this one sets
            before = [(option.training, option.statistics, option.update_running) for option in options]
            try:
                for option, (training, statistics) in zip(options, modes, strict=True):
                    option.training, option.update_running = training, False
                    option.take_statistics(statistics)
                return self.one_by_one(x, choice)
            finally:
                for option, (training, statistics, moving) in zip(options, before, strict=True):
                    option.training, option.update_running = training, moving
                    option.take_statistics(statistics)

    def one_by_one(self, x: Tensor, choice: Tensor) -> Tensor:
        """The same for any options: each makes its own scale and shift for all samples."""
        options = [cast(Norm, option) for option in self.options]
        statistics = sample_statistics(x, frozenset().union(*(option.needs for option in options)))
        pairs = [option.coefficients(statistics, anywhere((choice == k).any()) if option.moves else None)
                 for k, option in enumerate(options)]
        rows = torch.arange(len(x), device=x.device)
        scale, shift = (
            torch.stack([pair[part].expand(len(x), -1) for pair in pairs])[choice, rows] for part in (0, 1)
        )
        return scale_shift(x, scale, shift)
