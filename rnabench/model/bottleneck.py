"""The residual block of ResNets of 50 layers and more: 1x1, 3x3 and 1x1 convolutions, the last of which sends out four
times as many channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from rnabench.model.normalizers import NormFactory


class Bottleneck(nn.Module):
    """torchvision's block, with its names and its signature (its ResNet takes this one instead), but a ReLU of its own
    at each of the three places: one module at all three could only be replaced by one.

    `planes`: channels of the 3x3 convolution; `downsample`: the way around the block where the shape changes. Groups
    and dilations are not there.
    """

    expansion: ClassVar[int] = 4

    def __init__(self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None,
                 groups: int = 1, base_width: int = 64, dilation: int = 1,
                 norm_layer: NormFactory | Callable[..., Any] = nn.BatchNorm2d) -> None:
        super().__init__()
        if (groups, base_width, dilation) != (1, 64, 1):
            raise ValueError("this bottleneck has one group, of the usual width, and no dilation")
        self.outputs = planes * self.expansion
        self.conv1 = nn.Conv2d(inplanes, planes, 1, bias=False)
        self.bn1 = norm_layer(planes)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False)
        self.bn2 = norm_layer(planes)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(planes, self.outputs, 1, bias=False)
        self.bn3 = norm_layer(self.outputs)
        self.downsample = downsample
        self.relu3 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.relu2(self.bn2(self.conv2(out)))
        around = x if self.downsample is None else self.downsample(x)
        result: Tensor = self.relu3(self.bn3(self.conv3(out)) + around)
        return result
