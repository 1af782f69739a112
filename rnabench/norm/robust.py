"""RobustNorm: a power of the range stands where a batch normalisation has the standard deviation."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rnabench.norm.layers import Norm
from rnabench.norm.statistics import EPS, Statistic, take
from rnabench.settings.spaces import NORMS, Number


@NORMS.register("robust")
class RobustNorm(Norm):
    """(x - mean) / (max - min)^power per channel over the batch and H, W, at inference too ("RN", RobustNorm paper,
    2023, eq. 7; its eq. 6 has a power of 1).

    Its prediction for an image therefore depends on the image's batch mates. The range is taken as at least 1e-5: the
    slope of a power of zero is infinite. The norms of this file keep the same tensors: weights of one serve the others.
    """

    summary = "RobustNorm, by a power of the range"
    sources = take("mean", "range", of="batch")
    takes_number = Number("power of the range", default=0.2, most=1.0)

    def __init__(self, channels: int, groups: int, power: float = takes_number.default) -> None:
        super().__init__(channels, groups)
        self.power = power

    def standardization(self, statistics: Mapping[Statistic, Tensor]) -> tuple[Tensor, Tensor]:
        return statistics["mean"], statistics["range"].clamp_min(EPS) ** -self.power

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, power={self.power:g}"


@NORMS.register("robust-running-mean")
class RobustNormOfRunningMean(RobustNorm):
    """RobustNorm with the running mean at inference, and the range of the batch ("RN w/ mu_P", "RNM")."""

    summary = "RobustNorm with the running mean"
    sources = take("mean", of="batch", at_inference="running") | take("range", of="batch")


@NORMS.register("robust-running")
class RobustNormOfRunningStatistics(RobustNorm):
    """RobustNorm with running mean and range at inference ("RNT"): an image's prediction is its own."""

    summary = "RobustNorm with running mean and range"
    sources = take("mean", "range", of="batch", at_inference="running")
