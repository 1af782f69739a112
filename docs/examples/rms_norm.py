"""A normaliser of one's own: x over its root mean square, of each image and group of channels.

In `rnabench/norm/` this file is found by itself; another package names it in its pyproject.toml:

    [project.entry-points."rnabench.norms"]
    rms = "their_package.rms_norm"

Then `rnabench train --space rms32+bn`, `--space "rms[1-16]"` and all other commands take it.
"""

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
