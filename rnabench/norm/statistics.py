"""Per-(sample, channel) statistics and the per-(sample, channel) affine map: the passes over an activation.

Every normaliser is `x * scale + shift` with a scale and a shift [N, C] that follow from statistics over H, W of each
sample and channel: those of a group, or of a batch, are made of them (for variances, by the law of total variance).
Moments and map have their own backward, since autograd's for the naive formulas costs several more passes over x; the
backwards are made of differentiable operations, so that Hessian-vector products work. Where somebody else
differentiates, the plain formulas are used: under torch.compile, torch.export and torch.jit.trace, whose compilers
derive (and fuse) their own backward, in torch.func and in forward mode.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd import forward_ad

from rnabench.norm.shared_batch import of_whole_batch
from rnabench.settings.deployment import StatisticsFrom

EPS = 1e-5  # added to every variance

Statistic = Literal["mean", "var", "range"]
"""Mean, biased variance, and the largest value minus the smallest."""
Source = Literal["sample", "batch", "running"]
"""Whose statistics: each image's own, those of all images of the batch, or the moving average over training batches."""
Sources = dict[Statistic, tuple[Source, Source]]
"""The statistics that a normaliser needs: where each comes from in training and at inference."""


def take(*statistics: Statistic, of: Source, at_inference: Source | None = None) -> Sources:
    """Statistics of one source, at inference of another if that is given; joined by `|` with others."""
    return dict.fromkeys(statistics, (of, at_inference or of))


def taken_from(sources: Sources, where: StatisticsFrom) -> Sources:
    """The same statistics, those that are of the batch in training from elsewhere, in training and at inference alike.
    The others (an image's own) stay what they are."""
    def source(statistic: Statistic) -> Source:
        return "running" if where == "running" or (where == "running-mean" and statistic == "mean") else "batch"

    return {name: (source(name),) * 2 if where != "own" and pair[0] == "batch" else pair
            for name, pair in sources.items()}


@dataclass(frozen=True)
class Statistics:
    """Of each sample and channel of x, over its `pixels` = H * W values: [N, C] each, in float32 or better.

    None is what nobody asked for; see `sample_statistics`.
    """

    images: int
    pixels: int
    mean: Tensor | None = None
    var: Tensor | None = None
    low: Tensor | None = None
    high: Tensor | None = None

    def by_group(self, groups: int, over_batch: bool) -> dict[Statistic, Tensor]:
        """Of groups of channels: of each sample [N, groups], or of all samples together [1, groups]."""
        dims = (0, 2) if over_batch else (2,)
        found: dict[str, Tensor] = {}
        if self.mean is not None and self.var is not None:
            found["mean"], found["var"] = pooled(_in_groups(self.mean, groups), _in_groups(self.var, groups), dims)
        if self.low is not None and self.high is not None:
            found["low"] = _in_groups(self.low, groups).amin(dims)
            found["high"] = _in_groups(self.high, groups).amax(dims)
        if over_batch:
            found = of_whole_batch(found)
        result: dict[Statistic, Tensor] = {}
        if "mean" in found:
            result["mean"], result["var"] = found["mean"], found["var"]
        if "low" in found:
            result["range"] = found["high"] - found["low"]
        return {name: value[None] for name, value in result.items()} if over_batch else result


def sample_statistics(x: Tensor, needs: Set[Statistic]) -> Statistics:
    """The statistics of x [N, C, H, W] that are needed: a pass over x for moments, one for the range, or none."""
    mean, var = moments(x) if needs & {"mean", "var"} else (None, None)
    low, high = extremes(x) if "range" in needs else (None, None)
    return Statistics(x.shape[0], x.shape[2] * x.shape[3], mean, var, low, high)


def _in_groups(values: Tensor, groups: int) -> Tensor:
    return values.view(-1, groups, values.shape[1] // groups)


class _Moments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, var = mean_and_variance(x)
        ctx.save_for_backward(x, mean)
        return mean, var

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        grad_mean, grad_var = grads
        size = x.shape[2] * x.shape[3]
        slope = grad_var * (2 / size)
        offset = grad_mean / size - slope * mean
        return affine_map(x, slope, offset)


class _ScaleShift(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        return affine_map(x, scale, shift)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, scale = ctx.saved_tensors
        (grad,) = grads
        need_x, need_scale, need_shift = ctx.needs_input_grad
        grad_x = (grad * scale[:, :, None, None]).to(x.dtype) if need_x else None
        grad_scale = (grad * x.to(scale.dtype)).sum((2, 3)).sum_to_size(scale.shape) if need_scale else None
        grad_shift = grad.sum((2, 3), dtype=scale.dtype).sum_to_size(scale.shape) if need_shift else None
        return grad_x, grad_scale, grad_shift


def mean_and_variance(x: Tensor) -> tuple[Tensor, Tensor]:
    mean = x.mean((2, 3), dtype=torch.promote_types(x.dtype, torch.float32))
    # two passes: E[x^2] - E[x]^2 cancels where the mean is large against the deviation
    return mean, (x - mean[:, :, None, None]).square().mean((2, 3))


def affine_map(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """`scale_shift` as autograd knows it."""
    return torch.addcmul(shift[:, :, None, None], x, scale[:, :, None, None]).to(x.dtype)


def plain_formulas() -> bool:
    """Whether a compiler, a tracer, torch.func or forward mode is at work.

    Functions with `setup_context`, a vmap rule and a `jvp` would do for most of that. But their calls cost 40
    microseconds more each, and torch takes no `jvp` of a `jvp`: second derivatives in forward mode would be wrong.
    """
    return (torch.compiler.is_compiling() or _transforms_active() or getattr(forward_ad, "_current_level", -1) >= 0
            or torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


# torch has no public names for these; without them torch says that the functions above lack what it needs
_transforms_active: Callable[[], bool] = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)


def no_leaves(*tensors: Tensor) -> tuple[Tensor, ...]:
    """These as a `torch.autograd.Function` may have them: leaves of autograd, such as parameters and images, as views.

    To enter a leaf in a graph torch takes the leaf's lock, and, once it has it, Python's (2.15). A Function holds
    Python's all the while: two threads that run one network would wait for each other without end.
    """
    return tuple(each.view_as(each) if each.is_leaf and each.requires_grad and torch.is_grad_enabled() else each
                 for each in tensors)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance over H, W of x [N, C, H, W]: two tensors [N, C], in float32 or better."""
    if plain_formulas():
        return mean_and_variance(x)
    mean, var = _Moments.apply(*no_leaves(x))  # type: ignore[no-untyped-call]
    return mean, var


def extremes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest value over H, W of x [N, C, H, W]: two tensors [N, C], in float32 or better."""
    flat = x.flatten(2)  # a view, in channels-last too
    dtype = torch.promote_types(x.dtype, torch.float32)
    # with the places of the values: the backward of amin and amax, which have none, costs ten times as much
    return flat.min(2).values.to(dtype), flat.max(2).values.to(dtype)


def pooled(mean: Tensor, var: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Mean and variance of the union of equally large parts along `dims`, from those of each."""
    if all(mean.shape[dim] == 1 for dim in dims):
        return mean.squeeze(dims), var.squeeze(dims)
    centre = mean.mean(dims, keepdim=True)
    return centre.squeeze(dims), (var + (mean - centre).square()).mean(dims)  # torch.var is slow on small tensors


def scale_shift(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """x * scale + shift for x [N, C, H, W] and scale, shift [N, C] or [1, C] (both alike); the result has x's dtype."""
    if plain_formulas():
        return affine_map(x, scale, shift)
    result: Tensor = _ScaleShift.apply(*no_leaves(x, scale, shift))  # type: ignore[no-untyped-call]
    return result
