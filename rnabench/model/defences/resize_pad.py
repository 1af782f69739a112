"""Random resizing and padding of the input (Xie et al., ICLR 2018), at the size of the images at hand."""

from __future__ import annotations

from torch import Tensor, nn

from rnabench.model.defended import Undefended
from rnabench.path.resizing import NUMBERS, ResizeAndPad
from rnabench.path.seeds import SeedLayer
from rnabench.settings.parts import defence
from rnabench.settings.spaces import Number


class RandomResize(SeedLayer):
    """Images resized to a random side and padded at a random offset; a path of one row does the same to all of them."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.transform = ResizeAndPad(1.0, scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.transform(x, self.uniform((NUMBERS,), x.device).expand(x.shape[0], NUMBERS))


@defence("resize-pad", Number("the largest side, or if below 1 the least, as a share of the images'", 1.1, 2))
def resize_pad(parts: Undefended, scale: float) -> nn.Sequential:
    """The paper resizes 299 pixels to 299..330 and pads to 331, which is 1.1 times as much: of 32 pixels, 35. The
    network sees images of that size, of a `scale` below 1 images as large as they came."""
    return nn.Sequential(nn.Sequential(RandomResize(scale), parts.normalization), parts.network)
