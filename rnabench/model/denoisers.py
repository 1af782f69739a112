"""Denoising operations on feature maps [N, C, H, W] (the thesis, section 4.3): each value becomes a mean, weighted or
not, of others of its map."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnabench.settings.parts import denoiser

WINDOW = 3  # side of a local operation's neighbourhood, in pixels


class Embedding(nn.Module):
    """theta and phi: 1x1 convolutions to half the channels, by whose products positions are compared."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.width = max(channels // 2, 1)
        self.theta, self.phi = (nn.Conv2d(channels, self.width, 1, bias=False) for _ in range(2))
        for convolution in (self.theta, self.phi):
            nn.init.normal_(convolution.weight, std=0.01)


def _rows(maps: Tensor) -> Tensor:
    """[N, C, H, W] as [N, H W, C]."""
    return maps.flatten(2).transpose(1, 2)


def _like(rows: Tensor, maps: Tensor) -> Tensor:
    """[N, H W, C] as maps of the height and width of others."""
    return rows.transpose(1, 2).reshape(maps.shape[0], -1, *maps.shape[2:])


def _pooled(maps: Tensor) -> Tensor:
    """The largest value of each 2x2 pixels; maps of one pixel as they are."""
    return F.max_pool2d(maps, 2, ceil_mode=True)


@denoiser("gaussian")
class Gaussian(Embedding):
    """Non-local means: y_i = sum over all positions j of softmax_j(theta(x_i) . phi(x_j) / sqrt(d)) x_j, where d is the
    width of the embedding. `pooled`: j goes over the maxima of 2x2 positions."""

    def __init__(self, channels: int, pooled: bool = False) -> None:
        super().__init__(channels)
        self.pooled = pooled

    def forward(self, x: Tensor) -> Tensor:
        values = _pooled(x) if self.pooled else x
        keys = _pooled(self.phi(x)) if self.pooled else self.phi(x)
        scores = _rows(self.theta(x)) @ keys.flatten(2) / math.sqrt(self.width)
        return _like(scores.softmax(2) @ _rows(values), x)


@denoiser("dot")
class DotProduct(nn.Module):
    """y_i = (1 / n) sum over all n positions j of (x_i . x_j) x_j. `pooled` as above."""

    def __init__(self, channels: int, pooled: bool = False) -> None:
        super().__init__()
        self.pooled = pooled

    def forward(self, x: Tensor) -> Tensor:
        rows, values = _rows(x), _rows(_pooled(x) if self.pooled else x)
        here, others, channels = rows.shape[1], values.shape[1], rows.shape[2]
        return _like((by_channels if channels * (here + others) < 2 * here * others else by_positions)(rows, values), x)


def by_positions(rows: Tensor, values: Tensor) -> Tensor:
    """The dot products of rows [N, P, C] with values [N, Q, C] first: 2 P Q C multiplications."""
    return rows @ values.transpose(1, 2) @ values / values.shape[1]


def by_channels(rows: Tensor, values: Tensor) -> Tensor:
    """The same in the other order, (P + Q) C^2 multiplications."""
    return rows @ (values.transpose(1, 2) @ values / values.shape[1])


@denoiser("bilateral")
class Bilateral(Embedding):
    """The Gaussian weights of the positions in a 3x3 window alone; those outside of the map have none."""

    def __init__(self, channels: int, pooled: bool = False) -> None:
        super().__init__(channels)

    def forward(self, x: Tensor) -> Tensor:
        here = self.theta(x)
        scores = torch.stack([(here * key).sum(1) for key in _neighbours(self.phi(x))], 1) / math.sqrt(self.width)
        outside = torch.stack(_neighbours(x.new_zeros(1, 1, *x.shape[2:]), 1.0), 1)[:, :, 0]
        weights = scores.masked_fill(outside > 0, -math.inf).softmax(1)
        return _weighted(weights, x)


@denoiser("bilateral-dot")
class BilateralDot(nn.Module):
    """The mean of (x_i . x_j) x_j over the positions j of a 3x3 window that are in the map."""

    def __init__(self, channels: int, pooled: bool = False) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        products = torch.stack([(x * value).sum(1) for value in _neighbours(x)], 1)  # outside of the map, 0
        inside = torch.stack(_neighbours(x.new_ones(1, 1, *x.shape[2:])), 1)[:, :, 0]
        return _weighted(products / inside.sum(1, keepdim=True), x)


def _neighbours(maps: Tensor, outside: float = 0.0) -> list[Tensor]:
    """The maps moved so that at each position stands one of its 3x3 neighbours, for each of these."""
    height, width = maps.shape[2:]
    wide = F.pad(maps, (WINDOW // 2,) * 4, value=outside)
    return [wide[:, :, down:down + height, right:right + width] for down in range(WINDOW) for right in range(WINDOW)]


def _weighted(weights: Tensor, x: Tensor) -> Tensor:
    """The sum of the neighbours, each times its weight of [N, 9, H, W]."""
    result = torch.zeros_like(x)
    for weight, value in zip(weights.unbind(1), _neighbours(x), strict=True):
        result = result + weight[:, None] * value
    return result


@denoiser("mean")
class Mean(nn.Module):
    """The mean of a 3x3 window, as far as it is in the map."""

    def __init__(self, channels: int, pooled: bool = False) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, WINDOW, 1, WINDOW // 2, count_include_pad=False)


@denoiser("median")
class Median(nn.Module):
    """The median of a 3x3 window, by channel; the map's border goes on outside of it."""

    def __init__(self, channels: int, pooled: bool = False) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        wide = F.pad(x, (WINDOW // 2,) * 4, mode="replicate")
        return wide.unfold(2, WINDOW, 1).unfold(3, WINDOW, 1).flatten(4).median(4).values


@denoiser("null")
class Null(nn.Module):
    """x itself: what a denoising block does without the denoising."""

    def __init__(self, channels: int, pooled: bool = False) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x
