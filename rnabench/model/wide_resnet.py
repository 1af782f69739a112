"""Wide ResNets, pre-activation, widening factor 10: the RNA paper's "WideResNet32" of depth 34 (30 normalisation layers
and a final BN), and WRN-16-10 (13 normalisation layers)."""

from __future__ import annotations

import math

from torch import Tensor, nn

from rnabench.model.ends import with_ends
from rnabench.model.normalizers import NormFactory, batch_norm
from rnabench.model.resnet import conv3x3, pointwise
from rnabench.settings.architectures import architecture


class WideBlock(nn.Module):
    def __init__(self, norm: NormFactory, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = norm(inputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.norm2 = norm(outputs)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(outputs, outputs)
        self.shortcut = pointwise(inputs, outputs, stride) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu1(self.norm1(x))
        out = self.conv2(self.relu2(self.norm2(self.conv1(active))))
        shortcut = x if self.shortcut is None else self.shortcut(active)
        result: Tensor = out + shortcut
        return result


class WideResNet(nn.Module):
    """Three stages of (depth - 4) / 6 blocks; `last_norm` makes the normalisation layer in front of the classifier."""

    def __init__(self, norm: NormFactory, last_norm: NormFactory, classes: int, depth: int, widen: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(3, 16)
        blocks, last, inputs = [], [], 16
        for stage in range(3):
            outputs = 16 * widen * 2**stage
            for block in range((depth - 4) // 6):
                blocks.append((WideBlock(norm, inputs, outputs, 2 if stage and not block else 1), outputs))
                inputs = outputs
            last.append(len(blocks) - 1)
        self.blocks = with_ends(blocks, last)
        self.norm = last_norm(inputs)
        self.relu = nn.ReLU(inplace=True)
        self.linear = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=math.sqrt(2 / (module.kernel_size[0] ** 2 * module.out_channels)))
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.norm(self.blocks(self.conv1(x))))
        logits: Tensor = self.linear(out.mean((2, 3)))
        return logits


@architecture("wrn32", width=10, width_means="widening factor", image_size=32)
def wrn32(norm: NormFactory, classes: int, width: int) -> nn.Module:
    """Its last normalisation layer is a BN in every space, as in the RNA paper's released code."""
    return WideResNet(norm, batch_norm, classes, depth=34, widen=width)


@architecture("wrn16", width=10, width_means="widening factor", image_size=32)
def wrn16(norm: NormFactory, classes: int, width: int) -> nn.Module:
    """WRN-16-10 of the RobustNorm paper, in which every BN is replaced."""
    return WideResNet(norm, norm, classes, depth=16, widen=width)
