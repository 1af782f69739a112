"""GN, the paper's normalisation by statistics of a sample (section 3.1), as one operation of autograd: fewer passes
over x, and far fewer calls, than its parts take.

torch's own kernel is not used: for channels-last inputs on a CPU it takes E[x^2] - E[x]^2 in float32, which is off by
a factor of hundreds where the mean is a thousand times the deviation; elsewhere it first copies x to another layout.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnabench.norm.layers import Norm
from rnabench.norm.statistics import EPS, affine_map, moments, no_leaves, plain_formulas, take
from rnabench.settings.spaces import NORMS, Spellings


@NORMS.register("gn")
class GroupNorm(Norm):
    """GN: mean and variance of each sample over a group of channels and H, W. One group is LN, C groups are IN."""

    summary = "group normalisation (IN: one channel per group, LN: one group)"
    sources = take("mean", "var", of="sample")
    takes_groups = True
    spellings: ClassVar[Spellings] = (("in", "size", 1), ("ln", "groups", 1))
    family = "GN"

    def forward(self, x: Tensor) -> Tensor:
        if type(self).standardization is not Norm.standardization:
            return super().forward(x)
        return group_norm(x, self.weight, self.bias, self.groups)

    def plain(self) -> nn.Module:
        layer = nn.GroupNorm(self.groups, self.channels, EPS, affine=self.affine).to(self.weight)
        layer.load_state_dict(self.state_dict())
        return layer


@NORMS.register("in-plain")
class PlainInstanceNorm(GroupNorm):
    """IN without scale and shift: torch's nn.InstanceNorm2d."""

    summary = "instance normalisation without scale and shift"
    affine = False
    takes_groups = False
    spellings = ()


def group_norm(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """x [N, C, H, W] by the mean and biased variance of each sample and group of channels, times weight plus bias [C].

    The statistics are in float32 or better, the result has x's dtype. Differentiable any number of times.
    """
    if plain_formulas():
        return _plain(x, weight, bias, groups)
    result: Tensor = _GroupNorm.apply(*no_leaves(x, weight, bias), groups)  # type: ignore[no-untyped-call]
    return result


def _plain(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    mean, variance = _statistics(x, groups)
    scale = weight * torch.rsqrt(variance + EPS)
    return affine_map(x, scale, bias - mean * scale)


def _statistics(x: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of the group that each channel belongs to, [N, C]."""
    mean = _over_groups(x.mean((2, 3), dtype=torch.promote_types(x.dtype, torch.float32)), groups)
    # two passes: E[x^2] - E[x]^2 cancels where the mean is large against the deviation
    deviations = F.mse_loss(x.to(mean.dtype), mean[:, :, None, None].expand_as(x), reduction="none")  # one call
    return mean, _over_groups(deviations.mean((2, 3)), groups)


def _over_groups(values: Tensor, groups: int) -> Tensor:
    """Means over groups of channels, for each channel again, [N, C]. As a matrix it is symmetric: its own adjoint."""
    size = values.shape[1] // groups
    if size == 1:
        return values
    return values.view(-1, groups, size).mean(2, keepdim=True).expand(-1, -1, size).flatten(1)


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
        mean, variance = _statistics(x, groups)
        variance = variance + EPS
        factor = torch.rsqrt(variance)
        scale = weight * factor
        ctx.groups = groups
        ctx.save_for_backward(x, weight, mean, variance, factor, scale)
        return affine_map(x, scale, torch.addcmul(bias, mean, scale, value=-1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance, factor, scale = ctx.saved_tensors
        (grad,) = grads
        if torch.is_grad_enabled():  # somebody differentiates this in turn, and so the statistics that it is made of
            mean, variance = _differentiable_statistics(x, ctx.groups)
            variance = variance + EPS
            factor = torch.rsqrt(variance)
            scale = weight * factor
        need_x, need_weight, need_bias, _ = ctx.needs_input_grad
        # by chain rule over y = (x - mean) * factor * weight + bias
        total = grad.sum((2, 3), dtype=mean.dtype)
        moved = torch.addcmul((grad * x.to(mean.dtype)).sum((2, 3)), mean, total, value=-1)
        grad_x = None
        if need_x:
            share = scale / -(x.shape[2] * x.shape[3])
            slope = _over_groups(share * moved, ctx.groups) / variance
            offset = torch.addcmul(_over_groups(share * total, ctx.groups), slope, mean, value=-1)
            grad_x = torch.addcmul(torch.addcmul(offset[:, :, None, None], x, slope[:, :, None, None]),
                                   grad, scale[:, :, None, None]).to(x.dtype)
        return (grad_x, (moved * factor).sum(0) if need_weight else None, total.sum(0) if need_bias else None, None)


def _differentiable_statistics(x: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """`_statistics` from each channel's moments, whose backward, unlike that of the formulas above, is one pass."""
    mean, variance = moments(x)
    centre = _over_groups(mean, groups)
    return centre, _over_groups(variance + (mean - centre).square(), groups)
