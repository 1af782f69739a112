"""ResNets for 32x32 images in three stages of 16, 32 and 64 channels, as in the RobustNorm paper's released code: of
basic blocks (depth 6n + 2), or of bottlenecks, which send out four times as many channels."""

from __future__ import annotations

from torch import nn

from rnabench.model.bottleneck import Bottleneck
from rnabench.model.normalizers import NormFactory
from rnabench.model.resnet import ResNet, shortcut
from rnabench.settings.architectures import architecture

EXPANSION = Bottleneck.expansion
WIDTH_MEANS = "channels of the first stage"


@architecture("resnet20", width=16, width_means=WIDTH_MEANS, image_size=32)
def resnet20(norm: NormFactory, classes: int, width: int) -> nn.Module:
    return ResNet(norm, classes, width, (3, 3, 3))


@architecture("resnet38", width=16, width_means=WIDTH_MEANS, image_size=32)
def resnet38(norm: NormFactory, classes: int, width: int) -> nn.Module:
    return ResNet(norm, classes, width, (6, 6, 6))


@architecture("resnet56", width=16, width_means=WIDTH_MEANS, image_size=32)
def resnet56(norm: NormFactory, classes: int, width: int) -> nn.Module:
    return ResNet(norm, classes, width, (9, 9, 9))


@architecture("resnet110", width=16, width_means=WIDTH_MEANS, image_size=32)
def resnet110(norm: NormFactory, classes: int, width: int) -> nn.Module:
    return ResNet(norm, classes, width, (18, 18, 18))


@architecture("resnet50-cifar", width=16, width_means=f"{WIDTH_MEANS}, before bottlenecks' factor of {EXPANSION}",
              image_size=32)
def resnet50_cifar(norm: NormFactory, classes: int, width: int) -> nn.Module:
    """The paper's "ResNet50" for CIFAR: (50 - 2) / 6 = 8 bottlenecks a stage. They have three convolutions each, where
    the formula counts two, so that its depth is 74."""
    return ResNet(norm, classes, width, (8, 8, 8), _bottleneck, EXPANSION)


def _bottleneck(norm: NormFactory, inputs: int, outputs: int, stride: int) -> nn.Module:
    return Bottleneck(inputs, outputs // EXPANSION, stride, shortcut(norm, inputs, outputs, stride), norm_layer=norm)
