"""The 1x1 convolution of a shortcut."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

NARROW = 16


class _Narrow(nn.Conv2d):
    """A 1x1 convolution that takes every `stride`-th pixel first and convolves those: the same numbers.

    The backward pass of torch 2.15's strided one writes past the end of its memory on a CPU, for channels-last inputs
    of fewer channels than a vector register holds: a crash, or worse, none.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(input[:, :, :: self.stride[0], :: self.stride[1]], self.weight)


def pointwise(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    """A 1x1 convolution without bias from [N, inputs, H, W] to [N, outputs, ceil(H / stride), ceil(W / stride)]."""
    kind = _Narrow if inputs < NARROW and stride > 1 else nn.Conv2d
    return kind(inputs, outputs, 1, stride, bias=False)
