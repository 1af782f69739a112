"""Per-(sample, channel) moments and the per-(sample, channel) affine map: the two passes over an activation.

Every normaliser of the paper is `x * scale + shift` with a scale and a shift [N, C] that follow from the mean and
variance over H, W of each sample and channel (law of total variance). Both functions have their own backward, since
autograd's for the naive formulas costs several more passes over x; the backwards are made of differentiable
operations, so that Hessian-vector products work. Where somebody else differentiates, the plain formulas are used: under
torch.compile and torch.export, whose compiler derives (and fuses) its own backward, in torch.func and in forward mode.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad


class _Moments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, var = _mean_var(x)
        ctx.save_for_backward(x, mean)
        return mean, var

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        grad_mean, grad_var = grads
        size = x.shape[2] * x.shape[3]
        slope = grad_var * (2 / size)
        offset = grad_mean / size - slope * mean
        return _map(x, slope, offset)


class _ScaleShift(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        return _map(x, scale, shift)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, scale = ctx.saved_tensors
        (grad,) = grads
        need_x, need_scale, need_shift = ctx.needs_input_grad
        grad_x = (grad * scale[:, :, None, None]).to(x.dtype) if need_x else None
        grad_scale = (grad * x).sum((2, 3), dtype=scale.dtype).sum_to_size(scale.shape) if need_scale else None
        grad_shift = grad.sum((2, 3), dtype=scale.dtype).sum_to_size(scale.shape) if need_shift else None
        return grad_x, grad_scale, grad_shift


def _mean_var(x: Tensor) -> tuple[Tensor, Tensor]:
    mean = x.mean((2, 3), dtype=torch.promote_types(x.dtype, torch.float32))
    # two passes: E[x^2] - E[x]^2 cancels where the mean is large against the deviation
    return mean, (x - mean[:, :, None, None]).square().mean((2, 3))


def _map(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return torch.addcmul(shift[:, :, None, None], x, scale[:, :, None, None]).to(x.dtype)


def _plain_formulas() -> bool:
    """Whether a compiler, torch.func or forward mode is at work.

    Functions with `setup_context`, a vmap rule and a `jvp` would do for most of that. But their calls cost 40
    microseconds more each, and torch takes no `jvp` of a `jvp`: second derivatives in forward mode would be wrong.
    """
    return torch.compiler.is_compiling() or _transforms_active() or getattr(forward_ad, "_current_level", -1) >= 0


# torch has no public names for these; without them torch says that the functions above lack what it needs
_transforms_active: Callable[[], bool] = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance over H, W of x [N, C, H, W]: two tensors [N, C], in float32 or better."""
    if _plain_formulas():
        return _mean_var(x)
    mean, var = _Moments.apply(x)  # type: ignore[no-untyped-call]
    return mean, var


def pooled(mean: Tensor, var: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Mean and variance of the union of equally large parts along `dims`, from those of each."""
    if all(mean.shape[dim] == 1 for dim in dims):
        return mean.squeeze(dims), var.squeeze(dims)
    centre = mean.mean(dims, keepdim=True)
    return centre.squeeze(dims), (var + (mean - centre).square()).mean(dims)  # torch.var is slow on small tensors


def scale_shift(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """x * scale + shift for x [N, C, H, W] and scale, shift [N, C] or [1, C] (both alike); the result has x's dtype."""
    if _plain_formulas():
        return _map(x, scale, shift)
    result: Tensor = _ScaleShift.apply(x, scale, shift)  # type: ignore[no-untyped-call]
    return result
