"""Networks of somebody else's, each with random numbers from another source; and factories with arguments."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from tests.helpers import Lambda, lively_model


def noisy(noise: Callable[[Tensor], Tensor | float]) -> Lambda:
    """The first ten pixels as logits, and noise."""
    return Lambda(lambda x: x.flatten(1)[:, :10] + noise(x))


class Own(nn.Module):
    """Draws from a generator that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :10] + torch.randn(len(x), 10, generator=self.generator)


class Called(nn.Module):
    """Draws from a generator that it is called with."""

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return x.flatten(1)[:, :10] + torch.randn(len(x), 10, generator=generator)


class PerImage(nn.Module):
    """Draws for each image from a generator of that image's."""

    draws_per_sample = True

    def forward(self, x: Tensor, generator: list[torch.Generator]) -> Tensor:
        return x.flatten(1)[:, :10] + torch.stack([torch.randn(10, generator=each) for each in generator])


class OwnNumpy(nn.Module):
    """Draws from a generator that no seed of ours reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = np.random.default_rng(0)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :10] + float(self.numbers.normal())


def tossed(x: Tensor) -> float:
    """Heads: a number of torch's; tails: none."""
    return float(torch.rand(())) if random.random() < 0.5 else 0.0


def outer_noise(x: Tensor) -> Tensor:
    return x + 0.1 * torch.randn_like(x)


SEEDED: dict[str, tuple[Callable[[], nn.Module], set[str]]] = {
    "torch": (lambda: noisy(lambda x: torch.randn(len(x), 10)), {"torch's CPU generator"}),
    "numpy": (lambda: noisy(lambda x: float(np.random.rand())), {"numpy's global generator"}),
    "random": (lambda: noisy(lambda x: random.random()), {"Python's random"}),
    "several": (lambda: noisy(lambda x: float(torch.rand(())) + np.random.rand()),
                {"torch's CPU generator", "numpy's global generator"}),
    "a toss": (lambda: noisy(tossed), {"Python's random", "torch's CPU generator"}),
    "own": (Own, {"its own generator"}), "called": (Called, {"the generator it is called with"}),
    "per image": (PerImage, {"the generator it is called with"}),
    "choice layers and torch": (lambda: nn.Sequential(Lambda(outer_noise), lively_model().network),
                                {"choice layers", "torch's CPU generator"}),
}
UNSEEDED: dict[str, Callable[[], nn.Module]] = {
    "os.urandom": lambda: noisy(lambda x: os.urandom(1)[0] / 255), "numpy of its own": OwnNumpy,
    "the clock": lambda: noisy(lambda x: time.perf_counter_ns() % 1000),
}


def linear(width: int, scale: float = 1.0) -> nn.Module:
    layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, width), nn.ReLU(), nn.Linear(width, 10))
    generator = torch.Generator().manual_seed(0)
    for parameter in layers.parameters():
        nn.init.normal_(parameter, std=scale / 50, generator=generator)
    return layers


def called(name: str = "") -> nn.Module:
    return linear(3)


def per_image() -> nn.Module:
    class Bright(PerImage):
        def forward(self, x: Tensor, generator: list[torch.Generator]) -> Tensor:
            noise = torch.stack([torch.randn(10, generator=each) for each in generator])
            return x.flatten(1)[:, 500:510] + noise

    return Bright()


def unseeded() -> nn.Module:
    return UNSEEDED["os.urandom"]()


def fragile(width: int) -> nn.Module:
    raise ValueError(f"no network of width {width}")
