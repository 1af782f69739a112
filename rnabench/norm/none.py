"""The place of a normaliser without normalisation."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rnabench.norm.layers import Norm
from rnabench.norm.statistics import Statistic
from rnabench.settings.spaces import NORMS


@NORMS.register("none")
class NoNorm(Norm):
    """The scale and shift per channel alone. The RobustNorm paper trains such networks at a learning rate of 0.01."""

    summary = "no normalisation, only a scale and shift per channel"

    def standardization(self, statistics: Mapping[Statistic, Tensor]) -> tuple[Tensor, Tensor]:
        shape = 1, self.groups
        return self.weight.new_zeros(shape), self.weight.new_ones(shape)
