"""Random self-ensemble: noise in front of every convolution (Liu et al., ECCV 2018)."""

from __future__ import annotations

from torch import nn

from rnabench.errors import InvalidValue
from rnabench.model.defences.noise import GaussianNoise, InputNoise
from rnabench.model.defended import Undefended
from rnabench.model.replacing import first_convolutions, replace
from rnabench.settings.parts import defence
from rnabench.settings.spaces import Number

INNER = 0.5  # the noise inside, as a share of that at the input


@defence("rse", Number("sigma of the noise at the input, in pixel units", 0.2, 100))
def rse(parts: Undefended, sigma: float) -> nn.Sequential:
    """Noise of deviation `sigma` on the images, and of half as much (the paper's 0.2 and 0.1) on what goes into every
    convolution but the first (of several operators there, all), in training and at inference. Raises InvalidValue for a
    network without convolutions.

    The paper's prediction is the mean of several passes: `--average` and majority votes say what that does.
    """
    first = list(first_convolutions(parts.network).values())
    if not first:
        raise InvalidValue("defence", "rse", f"another one: {parts.arch} has no convolutions", ["input-noise"])

    def with_noise(module: nn.Module) -> nn.Module:
        return module if module in first else nn.Sequential(GaussianNoise(INNER * sigma), module)

    replace(parts.network, nn.Conv2d, with_noise)
    return nn.Sequential(nn.Sequential(InputNoise(sigma), parts.normalization), parts.network)
