"""Random projection filters (Dong and Xu, CVPR 2023): part of the first convolution's filters is drawn anew."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnabench.errors import InvalidValue
from rnabench.model.defended import Undefended
from rnabench.model.replacing import first_convolutions
from rnabench.path.seeds import SeedLayer
from rnabench.settings.parts import defence
from rnabench.settings.spaces import Number


class RandomProjection(SeedLayer):
    """A convolution of r x r filters, the last `drawn` of which are random: N(0, 1 / r^2) in every place. The others
    are trained, each divided by its deviation and by r: all are of one size, as in the released code."""

    def __init__(self, convolution: nn.Conv2d, drawn: int) -> None:
        super().__init__()
        kept = convolution.out_channels - drawn
        self.weight = nn.Parameter(convolution.weight.detach()[:kept].clone())
        self.bias, self.drawn, self.side = convolution.bias, drawn, convolution.kernel_size[0]
        self.how: dict[str, Any] = {name: getattr(convolution, name) for name in ("stride", "padding", "dilation")}

    def filters(self, device: torch.device) -> Tensor:
        """The drawn ones, [R, drawn, C, r, r]."""
        return self.gaussian((self.drawn, *self.weight.shape[1:]), device) / self.side

    def forward(self, x: Tensor) -> Tensor:
        trained = self.weight / (self.weight.flatten(1).std(1)[:, None, None, None] + 1e-5) / self.side
        drawn = self.filters(x.device)
        if len(drawn) == 1:
            return F.conv2d(x, torch.cat([trained, drawn[0]]), self.bias, **self.how)
        # filters for each image: its channels are a group of one image with the channels of all
        together = F.conv2d(x.flatten(0, 1)[None], drawn.flatten(0, 1), **self.how, groups=len(x))
        both = torch.cat([F.conv2d(x, trained, **self.how), together.view(len(x), -1, *together.shape[2:])], 1)
        return both if self.bias is None else both + self.bias[:, None, None]


@defence("rpf", Number("the share of filters that are random", 0.75, 0.99))
def rpf(parts: Undefended, share: float) -> nn.Sequential:
    """In the first convolution (of several operators there, in all), as in the paper, where 48 of 64 are random. The
    paper's greater weight decay of this layer, 0.01, is not here. Raises InvalidValue for a network without one."""
    first = first_convolutions(parts.network)
    if not first:
        raise InvalidValue("defence", "rpf", f"another one: {parts.arch} has no convolutions", ["input-noise"])
    for name, convolution in first.items():
        drawn = max(1, int(share * convolution.out_channels))
        parts.network.set_submodule(name, RandomProjection(convolution, drawn))
    return nn.Sequential(parts.normalization, parts.network)
