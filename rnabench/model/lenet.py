"""LeNet-5 for grey 28x28 images, and its super-network in which all five layers are choices (SORS paper)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from rnabench.errors import InvalidValue
from rnabench.model.normalizers import NormFactory
from rnabench.model.operators import LETTERS, one_of
from rnabench.settings.architectures import architecture

SIDE = 4  # in pixels, of the map behind the convolutions where images have 28
LEAST = 16  # side of the smallest images of which the convolutions leave anything
WIDTH = 6
WIDTH_MEANS = "channels of the first convolution"


class LeNet(nn.Module):
    """Two 5x5 convolutions without padding, each with ReLU and a 2x2 maximum, and layers of 120, 84 and `classes`.

    Each of the five layers is a choice among `operators` copies. Images are made grey first, by the mean of their
    channels: of digits, whose three channels are equal, that is any of them; a change of the grey value by d is then
    one of all three channels by d, whose Euclidean length is sqrt(3) times as great. Behind the convolutions, images of
    another size than 28x28 are averaged to the 4x4 pixels that the head takes. Other widths scale all layers alike.
    """

    def __init__(self, classes: int, width: int, operators: int = 1) -> None:
        super().__init__()

        def copies(build: Callable[[], nn.Module]) -> nn.Module:
            return one_of({LETTERS[number]: build() for number in range(operators)})

        second, hidden, last = width * 16 // WIDTH, width * 20, width * 14
        self.conv1 = copies(lambda: nn.Conv2d(1, width, 5))
        self.relu1 = nn.ReLU()
        self.conv2 = copies(lambda: nn.Conv2d(width, second, 5))
        self.relu2 = nn.ReLU()
        self.linear1 = copies(lambda: nn.Linear(second * SIDE**2, hidden))
        self.relu3 = nn.ReLU()
        self.linear2 = copies(lambda: nn.Linear(hidden, last))
        self.relu4 = nn.ReLU()
        self.linear3 = copies(lambda: nn.Linear(last, classes))

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[2:]) < LEAST:
            raise InvalidValue("images", f"{x.shape[2]}x{x.shape[3]} pixels", f"at least {LEAST}x{LEAST} for a LeNet-5")
        out = F.max_pool2d(self.relu1(self.conv1(x.mean(1, keepdim=True))), 2)
        out = F.max_pool2d(self.relu2(self.conv2(out)), 2)
        out = F.adaptive_avg_pool2d(out, SIDE).flatten(1)
        logits: Tensor = self.linear3(self.relu4(self.linear2(self.relu3(self.linear1(out)))))
        return logits


@architecture("lenet5", width=WIDTH, width_means=WIDTH_MEANS, image_size=28, normalised=False)
def lenet5(norm: NormFactory, classes: int, width: int) -> nn.Module:
    """44,426 parameters for ten classes; it has no normalisation layers."""
    return LeNet(classes, width)


@architecture("rs-lenet5", width=WIDTH, width_means=WIDTH_MEANS, image_size=28, operators=4, normalised=False)
def rs_lenet5(norm: NormFactory, classes: int, width: int, operators: int) -> nn.Module:
    """The SORS paper's super-network for MNIST: m operators make m^5 paths and m times the parameters."""
    return LeNet(classes, width, operators)
