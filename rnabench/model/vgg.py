"""VGG for small images (configurations A and D): stages of convolution, norm and ReLU, each ending in a pool, and a
head of three fully connected layers."""

from __future__ import annotations

from torch import Tensor, nn

from rnabench.model.ends import End
from rnabench.model.normalizers import NormFactory
from rnabench.settings.architectures import architecture

WIDTH_MEANS = "channels of the first convolution"


class VGG(nn.Module):
    """`convolutions`: how many each of the five stages has; they have width, 2, 4, 8 and 8 times width channels.

    The RobustNorm paper's code has dropout in the head. There is none here: every random number of a training is drawn
    by name for its step and example, and dropout draws from torch's global generator inside of a forward pass.
    """

    def __init__(self, norm: NormFactory, classes: int, width: int, convolutions: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        ends: dict[int, End] = {}  # by the number of the layer that comes next
        inputs = 3
        for stage, count in enumerate(convolutions):
            outputs = width * min(2**stage, 8)
            for _ in range(count):
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), norm(outputs), nn.ReLU(inplace=True)]
                inputs = outputs
            ends[len(layers)] = End(outputs, of_block=False, of_stage=True)
            layers.append(nn.MaxPool2d(2, ceil_mode=True))  # leaves a map of one pixel as it is: 16x16 images do too
        self.features = nn.Sequential()
        for number, layer in enumerate(layers):
            if number in ends:
                self.features.add_module(f"end{number}", ends[number])
            self.features.add_module(str(number), layer)
        self.head = nn.Sequential(nn.Linear(inputs, inputs), nn.ReLU(inplace=True), nn.Linear(inputs, inputs),
                                  nn.ReLU(inplace=True), nn.Linear(inputs, classes))
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x).mean((2, 3)))  # at 32x32 there is one pixel left
        return logits


@architecture("vgg11", width=64, width_means=WIDTH_MEANS, image_size=32)
def vgg11(norm: NormFactory, classes: int, width: int) -> nn.Module:
    """Configuration A."""
    return VGG(norm, classes, width, (1, 1, 2, 2, 2))


@architecture("vgg16", width=64, width_means=WIDTH_MEANS, image_size=32)
def vgg16(norm: NormFactory, classes: int, width: int) -> nn.Module:
    """Configuration D."""
    return VGG(norm, classes, width, (2, 2, 3, 3, 3))
