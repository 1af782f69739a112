"""Many normalisers as one: a choice of GNs and BGNs in a number of calls that does not grow with the number of options.

Whatever groups an option has, its mean and second moment are averages of the channels' own. So one matrix product makes
the averages of all options, and each sample and channel picks one. In float64, where E[x^2] - E[x]^2 of the channels'
moments, which were taken in two passes, loses nothing that float32 would have had.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from rnabench.norm.layers import Norm
from rnabench.norm.shared_batch import is_shared
from rnabench.norm.statistics import EPS, affine_map, mean_and_variance, no_leaves


def stackable(options: Sequence[Norm]) -> bool:
    """Whether these are of the two families, as they stand: nothing moves running statistics, or corrects variances,
    or takes mean and variance from different places, or over a batch that is shared among processes."""
    if is_shared() and any(option.mixes_batch for option in options):
        return False
    return len({option.training for option in options}) == 1 and all(
        option.family is not None and type(option).standardization is Norm.standardization
        and option.taken["mean"] == option.taken["var"]
        and not option.moves and not (option.training and option.unbiased) for option in options)


class Stack:
    """What is the same in every forward pass of a choice of such options, as long as their statistics come from where
    they do (`Norm.taken`): which averages there are, and which of them a channel takes under an option.

    `pooling` float64 [C, G] makes the averages of all options that take them of the input; `column` int64 [K, C] is the
    one of option k for channel c, or the place among all running statistics; `own` [K] says whether a sample is
    normalised by itself, and `row` int64 [K] which row after the samples' it is otherwise: the whole batch's, if there
    is one, then that in which the running statistics begin.
    """

    def __init__(self, options: Sequence[Norm], device: torch.device) -> None:
        channels = options[0].channels
        sources = [option.taken["mean"] for option in options]
        self.over_batch = "batch" in sources
        self.running = [number for number, source in enumerate(sources) if source == "running"]
        pooling, columns, counts = [], [], {"running": 0, "sample": 0}
        for option, source in zip(options, sources, strict=True):
            group = torch.arange(channels) // option.group_size
            kind = "running" if source == "running" else "sample"
            columns.append(counts[kind] + group)
            counts[kind] += option.groups
            if kind == "sample":
                averages = torch.nn.functional.one_hot(group, option.groups).double() / option.group_size
                pooling.append(averages)
        self.pooling = torch.cat([*pooling, torch.zeros(channels, 0, dtype=torch.float64)], 1).to(device)
        self.column = torch.stack(columns).to(device)
        self.own = torch.tensor([source == "sample" for source in sources], device=device)
        self.row = torch.tensor([int(self.over_batch and source == "running") for source in sources], device=device)

    def averages(self, mean: Tensor, variance: Tensor, running: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """First and second moments of all groups, float64 [2, (N or N + 1) * G + running ones]."""
        moments = torch.stack([mean, variance]).double()
        moments[1].addcmul_(moments[0], moments[0])
        if self.over_batch:  # as one more sample
            moments = torch.cat([moments, moments.mean(1, keepdim=True)], 1)
        averages = (moments @ self.pooling).flatten(1)
        if not running:
            return averages
        kept = torch.stack([torch.cat(part) for part in zip(*running, strict=True)]).double()
        kept[1].addcmul_(kept[0], kept[0])
        return torch.cat([averages, kept], 1)

    def places(self, choice: Tensor) -> Tensor:
        """Which of these each sample and channel takes, int64 [N, C]."""
        images = len(choice)
        others = images + self.row[choice] if self.over_batch and self.running else images
        row = torch.where(self.own[choice], torch.arange(images, device=choice.device), others)
        return torch.add(self.column[choice], row[:, None], alpha=self.pooling.shape[1])

    def back(self, slopes: Tensor, places: Tensor, size: int) -> Tensor:
        """The adjoint of `averages` and of picking at `places`: from slopes [2, N, C] by what was picked to those by
        the channels' own moments, float64 [2, N, C]; `size` is the number of averages."""
        images, groups = slopes.shape[1], self.pooling.shape[1]
        # on a GPU in no fixed order, which float64 rounds away in nearly all float32 results
        summed = slopes.new_zeros(2, size).scatter_add_(1, places.flatten().expand(2, -1), slopes.flatten(1))
        rows = images + self.over_batch
        each = summed[:, : rows * groups].view(2, rows, groups) @ self.pooling.T
        return each[:, :images] + each[:, images:] / images if self.over_batch else each


def stacked(x: Tensor, choice: Tensor, stack: Stack, options: Sequence[Norm],
            one_by_one: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Sample i of x by option `choice[i]`. `one_by_one` computes the same, differentiable any number of times."""
    weights, biases = [option.weight for option in options], [option.bias for option in options]
    running = [(options[number].running_mean, options[number].running_var) for number in stack.running]
    # stacked here rather than inside: a Function has `no_leaves`
    result: Tensor = _Stacked.apply(*no_leaves(x), choice, torch.stack(weights), torch.stack(biases),  # type: ignore[no-untyped-call]
                                    stack, running, one_by_one, [*weights, *biases])
    return result


class _Stacked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, choice: Tensor, weights: Tensor, biases: Tensor, stack: Stack,
                running: Sequence[tuple[Tensor, Tensor]], one_by_one: Callable[[Tensor, Tensor], Tensor],
                affine: Sequence[Tensor]) -> Tensor:
        averages, places = stack.averages(*mean_and_variance(x), running), stack.places(choice)
        picked = averages[:, places]
        picked[1].addcmul_(picked[0], picked[0], value=-1)
        mean, variance = picked.to(torch.promote_types(x.dtype, torch.float32)).unbind()
        variance = variance + EPS
        factor = torch.rsqrt(variance)
        scale = weights[choice] * factor
        ctx.stack, ctx.one_by_one, ctx.affine, ctx.size = stack, one_by_one, affine, averages.shape[1]
        ctx.save_for_backward(x, choice, places, mean, variance, factor, scale)
        return affine_map(x, scale, torch.addcmul(biases[choice], mean, scale, value=-1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, choice, places, mean, variance, factor, scale = ctx.saved_tensors
        (grad,), needs = grads, ctx.needs_input_grad
        if torch.is_grad_enabled():  # somebody differentiates this in turn
            wanted = [each for each in (x, *ctx.affine) if each.requires_grad]
            found = dict(zip(wanted, torch.autograd.grad(ctx.one_by_one(x, choice), wanted, grad, create_graph=True,
                                                         materialize_grads=True), strict=True))
            both = torch.stack([found[each] if each in found else torch.zeros_like(each) for each in ctx.affine])
            return found.get(x), None, *both.chunk(2), *[None] * 4
        # by chain rule over y = (x - mean) * factor * weight + bias
        total = grad.sum((2, 3), dtype=mean.dtype)
        moved = torch.addcmul((grad * x.to(mean.dtype)).sum((2, 3)), mean, total, value=-1)
        grad_x = None
        if needs[0]:
            by_second = moved * scale / variance * -0.5
            by_first = -torch.addcmul(scale * total, mean, by_second, value=2)
            slopes = ctx.stack.back(torch.stack([by_first, by_second]).double(), places, ctx.size)
            offset, slope = (slopes / (x.shape[2] * x.shape[3])).to(mean.dtype).unbind()
            grad_x = torch.addcmul(torch.addcmul(offset[:, :, None, None], x, slope[:, :, None, None], value=2),
                                   grad, scale[:, :, None, None]).to(x.dtype)
        by_option: Sequence[Tensor | None] = (None, None)
        if needs[2] or needs[3]:
            chosen = (choice == torch.arange(len(ctx.affine) // 2, device=choice.device)[:, None]).double()
            by_option = (chosen @ torch.stack([moved * factor, total]).double()).to(ctx.affine[0].dtype).unbind()
        return grad_x, None, *by_option, *[None] * 4
