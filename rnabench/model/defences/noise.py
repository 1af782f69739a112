"""Gaussian noise at the input, and what other defences make of such noise."""

from __future__ import annotations

from torch import Tensor, nn

from rnabench.model.defended import Undefended
from rnabench.path.seeds import SeedLayer
from rnabench.settings.parts import defence
from rnabench.settings.spaces import Number

SIGMA = Number("sigma, the noise's deviation", 0.25, 100)


class GaussianNoise(SeedLayer):
    """x + sigma e, with e of mean 0 and variance 1 in every place. A path of one row adds the same to all images of a
    batch."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, x: Tensor, copies: int = 1) -> Tensor:
        """[N * copies, C, H, W]: `copies` of each of the N images behind each other, with noise of their own."""
        noise = self.gaussian((copies, *x.shape[1:]), x.device)
        return (x[:, None] + self.sigma * noise).flatten(0, 1)


class InputNoise(GaussianNoise):
    """The same on images in [0, 1], which may leave that range: sigma is in pixel units."""


@defence("input-noise", SIGMA)
def input_noise(parts: Undefended, sigma: float) -> nn.Sequential:
    """A draw of noise in every forward pass, in training too."""
    return nn.Sequential(nn.Sequential(InputNoise(sigma), parts.normalization), parts.network)
