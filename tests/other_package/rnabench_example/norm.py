"""A normaliser: x over its root mean square, of each image and group of channels. Then `--space rms32+bn` names it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rnabench.norm.layers import EPS, Norm
from rnabench.norm.statistics import Statistic, take
from rnabench.settings.spaces import NORMS


@NORMS.register("rms")
class RootMeanSquareNorm(Norm):
    """x / sqrt(mean of x^2) of each sample over a group of channels and H, W."""

    summary = "root mean square normalisation"
    sources = take("mean", "var", of="sample")
    takes_groups = True

    def standardization(self, statistics: Mapping[Statistic, Tensor]) -> tuple[Tensor, Tensor]:
        mean, var = statistics["mean"], statistics["var"]
        return torch.zeros_like(mean), torch.rsqrt(var + mean.square() + EPS)
