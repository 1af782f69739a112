"""ResNet-18 for 32x32 images: a 3x3 stem, four stages of two basic blocks; 20 normalisation layers."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from rnabench.model.ends import with_ends
from rnabench.model.normalizers import NormFactory
from rnabench.settings.architectures import architecture

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


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


def shortcut(norm: NormFactory, inputs: int, outputs: int, stride: int) -> nn.Module:
    """The way around a block: the identity, or a normalised 1x1 convolution where the shape changes."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(pointwise(inputs, outputs, stride), norm(outputs))


Block = Callable[[NormFactory, int, int, int], nn.Module]
"""(norm factory, input channels, output channels, stride) -> a residual block."""


class BasicBlock(nn.Module):
    def __init__(self, norm: NormFactory, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.norm1 = norm(outputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(outputs, outputs)
        self.norm2 = norm(outputs)
        self.shortcut = shortcut(norm, inputs, outputs, stride)
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.norm1(self.conv1(x)))
        result: Tensor = self.relu2(self.norm2(self.conv2(out)) + self.shortcut(x))
        return result


class ResNet(nn.Module):
    """A 3x3 stem of `width` channels, and as many stages as `blocks` has numbers of blocks; the blocks of the first
    send out `width * expansion` channels, those of each further stage twice as many at half the resolution."""

    def __init__(self, norm: NormFactory, classes: int, width: int, blocks: tuple[int, ...], block: Block = BasicBlock,
                 expansion: int = 1) -> None:
        super().__init__()
        self.conv1 = conv3x3(3, width)
        self.norm1 = norm(width)
        self.relu1 = nn.ReLU(inplace=True)
        stages, inputs = [], width
        for stage, count in enumerate(blocks):
            outputs = width * expansion * 2**stage
            strides = [1 if stage == 0 else 2] + [1] * (count - 1)
            layers = []
            for stride in strides:
                layers.append((block(norm, inputs, outputs, stride), outputs))
                inputs = outputs
            stages.append(with_ends(layers, [count - 1]))
        self.stages = nn.Sequential(*stages)
        self.linear = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.linear.weight, std=0.001)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        out = self.stages(self.relu1(self.norm1(self.conv1(x))))
        logits: Tensor = self.linear(out.mean((2, 3)))
        return logits


@architecture("resnet18", width=64, width_means="channels of the first stage", image_size=32)
def resnet18(norm: NormFactory, classes: int, width: int) -> nn.Module:
    return ResNet(norm, classes, width, (2, 2, 2, 2))
