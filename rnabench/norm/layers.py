"""The two families of normalisers of section 3.1: GN (statistics of a sample) and BGN (statistics of batches)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnabench.norm.statistics import moments, pooled, scale_shift

EPS = 1e-5


class Norm(nn.Module):
    """A normaliser over groups of channels, followed by a scale and shift per channel (eq. 3).

    Without `affine` the scale is 1 and the shift 0: constants, neither trained nor saved.
    Subclasses say what the scale and shift [N, C] (or [1, C]) are, given the moments of the input; `forward` and the
    choice layer share that one formula.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, channels: int, groups: int, affine: bool = True) -> None:
        super().__init__()
        self.channels, self.groups, self.affine = channels, groups, affine
        for name, value in (("weight", torch.ones(channels)), ("bias", torch.zeros(channels))):
            if affine:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value, persistent=False)

    @property
    def group_size(self) -> int:
        return self.channels // self.groups

    @property
    def needs_moments(self) -> bool:
        """Whether the result depends on statistics of the input (a BGN at inference does not)."""
        return True

    def coefficients(
        self, mean: Tensor, var: Tensor, pixels: int, used: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Scale and shift from mean, var [N, C] over `pixels` = H * W values.

        `used`, a boolean scalar tensor, says whether any sample uses the result: running statistics move only then.
        """
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        mean, var = moments(x) if self.needs_moments else (self.weight, self.weight)
        return scale_shift(x, *self.coefficients(mean, var, x.shape[2] * x.shape[3]))

    def _grouped(self, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1, self.groups, self.group_size)
        return mean.view(shape), var.view(shape)

    def _affine(self, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift [., C] from group statistics [., G]."""
        rstd = torch.rsqrt(var + EPS).repeat_interleave(self.group_size, 1)
        scale = self.weight * rstd
        return scale, self.bias - mean.repeat_interleave(self.group_size, 1) * scale

    def extra_repr(self) -> str:
        return f"{self.channels}, groups={self.groups}" + ("" if self.affine else ", affine=False")


class GroupNorm(Norm):
    """GN: mean and variance of each sample over a group of channels and H, W. One group is LN, C groups are IN.

    C groups without `affine` are torch's nn.InstanceNorm2d.
    """

    def coefficients(
        self, mean: Tensor, var: Tensor, pixels: int, used: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self._affine(*pooled(*self._grouped(mean, var), (2,)))


class BatchGroupNorm(Norm):
    """BGN: mean and variance over the batch, a group of channels and H, W; running ones at inference. C groups are BN.

    torch's conventions: divided by the biased variance of a training batch; new running = (1 - momentum) * old +
    momentum * batch, with the unbiased batch variance. See `use_bgn_conventions` for others.
    `update_running` = False (see `frozen_statistics`) trains on batch statistics without moving the running ones.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, groups: int, momentum: float = 0.1) -> None:
        super().__init__(channels, groups)
        self.momentum = momentum
        self.unbiased = False
        self.update_running = True
        self.register_buffer("running_mean", torch.zeros(groups))
        self.register_buffer("running_var", torch.ones(groups))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    @property
    def needs_moments(self) -> bool:
        return self.training

    def coefficients(
        self, mean: Tensor, var: Tensor, pixels: int, used: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if not self.training:
            return self._affine(self.running_mean[None], self.running_var[None])
        images = len(mean)
        count = images * self.group_size * pixels
        mean, var = pooled(*self._grouped(mean, var), (0, 2))
        kept = var.detach() * (count / max(count - 1, 1))
        if self.unbiased:
            var = var * (count / max(count - 1, 1))
            kept = kept * (images / max(images - 1, 1))  # the released code corrects twice
        if self.update_running:
            self._track(mean.detach(), kept, used)
        return self._affine(mean[None], var[None])

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor, used: Tensor | None) -> None:
        if used is None:
            used = torch.ones((), device=mean.device)
        weight = self.momentum * used.to(mean.dtype)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), weight)
        self.running_var.lerp_(var.to(self.running_var.dtype), weight)
        self.num_batches_tracked.add_(used.long())

    def forward(self, x: Tensor) -> Tensor:
        if self.group_size > 1:
            return super().forward(x)
        # plain batch normalisation: torch's own kernel is the fastest there is
        track = self.training and self.update_running
        if track:
            self.num_batches_tracked.add_(1)
        mean, var = (self.running_mean, self.running_var) if track or not self.training else (None, None)
        return F.batch_norm(x, mean, var, self.weight, self.bias, self.training, self.momentum, EPS)


def use_bgn_conventions(network: nn.Module, momentum: float, unbiased: bool) -> None:
    """Other conventions for the BGNs of several channels per group; one channel per group is torch's BatchNorm2d.

    `momentum` is the weight of the new batch (the released code's is 0.9). `unbiased` divides a training batch by its
    unbiased variance, and keeps that times N / (N - 1) for N images as the running one, as the released code does.
    """
    for layer in network.modules():
        if isinstance(layer, BatchGroupNorm) and layer.group_size > 1:
            layer.momentum, layer.unbiased = momentum, unbiased


@contextmanager
def frozen_statistics(network: nn.Module) -> Iterator[None]:
    """Inside the block no forward pass moves a running statistic, in training mode either; restores what was set."""
    layers = [module for module in network.modules() if isinstance(module, BatchGroupNorm)]
    previous = [layer.update_running for layer in layers]
    try:
        for layer in layers:
            layer.update_running = False
        yield
    finally:
        for layer, value in zip(layers, previous, strict=True):
            layer.update_running = value
