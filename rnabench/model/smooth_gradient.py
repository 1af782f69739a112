"""ReLUs with a better gradient (the thesis, Table 5.1): forward ReLU, backward a smooth function's derivative."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rnabench.norm.statistics import no_leaves

SHARPNESS = 10.0  # of parametric softplus, whose derivative it is (5.3)


class _SmoothBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return slopes[0] * torch.sigmoid(SHARPNESS * x)


class SmoothGradientReLU(nn.ReLU):
    """max(x, 0), whose derivative is said to be sigma(10 x)."""

    def forward(self, input: Tensor) -> Tensor:
        result: Tensor = _SmoothBackward.apply(*no_leaves(input))  # type: ignore[no-untyped-call]
        return result


@contextmanager
def smooth_gradient(network: nn.Module) -> Iterator[None]:
    """What is computed inside the block has the smooth derivative in every ReLU module, also if `backward` comes behind
    it. Like training and evaluation mode it is a state of the network, shared by all threads."""
    relus = [module for module in network.modules() if type(module) is nn.ReLU]
    try:
        for relu in relus:
            relu.__class__ = SmoothGradientReLU  # the same module, so that a compiled network keeps a graph for each
        yield
    finally:
        for relu in relus:
            relu.__class__ = nn.ReLU
