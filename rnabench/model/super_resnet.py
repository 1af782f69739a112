"""ResNet-18 as a super-network (SORS paper): in every block both convolutions are choices among operators."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from rnabench.model.normalizers import NormFactory
from rnabench.model.operators import LETTERS, normalised, one_of
from rnabench.model.resnet import BasicBlock, ResNet, shortcut
from rnabench.settings.architectures import architecture

KERNELS = 3, 5, 7  # of the operators in the place of a block's second convolution


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class SuperBlock(nn.Module):
    """A basic block of operators: as many 3x3 convolutions as there are `operators`, then at most one of each of
    KERNELS; every one has a normalisation layer of its own."""

    def __init__(self, norm: NormFactory, inputs: int, outputs: int, stride: int, operators: int) -> None:
        super().__init__()
        self.conv1 = one_of(normalised({
            f"3x3{LETTERS[number]}": _convolution(inputs, outputs, 3, stride) for number in range(operators)}, norm))
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = one_of(normalised({
            f"{kernel}x{kernel}": _convolution(outputs, outputs, kernel) for kernel in KERNELS[:operators]}, norm))
        self.shortcut = shortcut(norm, inputs, outputs, stride)
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.conv1(x))
        result: Tensor = self.relu2(self.conv2(out) + self.shortcut(x))
        return result


@architecture("rs-resnet18", width=64, width_means="channels of the first stage", image_size=32, operators=4)
def rs_resnet18(norm: NormFactory, classes: int, width: int, operators: int) -> nn.Module:
    """4 operators make 12 choices a block and 12^8 paths. Stem, shortcuts and classifier are single. The paper has GNs
    (--space gn32): operators share the layers above, so that running averages of BNs mix their statistics. With one
    operator it is resnet18."""
    block = BasicBlock if operators == 1 else partial(SuperBlock, operators=operators)
    return ResNet(norm, classes, width, (2, 2, 2, 2), block)
