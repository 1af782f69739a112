"""Activations in the place of ReLUs (the thesis, chapter 5), and the same for any network."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rnabench.errors import InvalidValue
from rnabench.model.replacing import replace
from rnabench.path.choice import ChoiceLayer
from rnabench.settings.parts import ACTIVATIONS, RELU, Part, activation, activations
from rnabench.settings.spaces import Number

SHARPNESS = 1e6  # the largest a: float32 tells no sharper function from a ReLU


@activation(RELU)
def relu() -> nn.Module:
    return nn.ReLU()


@activation("softplus", Number("a, its sharpness", 1, SHARPNESS))
def softplus(a: float) -> nn.Module:
    """(1 / a) log(1 + e^(a x)): the thesis' parametric softplus (5.2), which has a = 10 there; its derivative is
    sigma(a x)."""
    return nn.Softplus(a)


@activation("silu")
def silu() -> nn.Module:
    """x sigma(x)."""
    return nn.SiLU()


@activation("gelu")
def gelu() -> nn.Module:
    """x Phi(x) in the form with tanh, as in the thesis' code."""
    return nn.GELU("tanh")


@activation("elu", Number("a, its depth", 1, 100))
def elu(a: float) -> nn.Module:
    """a (e^x - 1) below 0, where its derivative is a e^x: smooth at a = 1 alone (5.6)."""
    return nn.ELU(a)


@activation("celu", Number("a, its depth", 1, 100))
def celu(a: float) -> nn.Module:
    """a (e^(x / a) - 1) below 0: smooth for every a (5.7)."""
    return nn.CELU(a)


@activation("smoothrelu", Number("a, its sharpness", 400, SHARPNESS))
class SmoothReLU(nn.Module):
    """x - log(a x + 1) / a above 0, and 0 below, with a learnable a = b^2 for all channels of a place (5.4)."""

    undecayed = ("b",)

    def __init__(self, a: float) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.tensor(math.sqrt(a)))

    def forward(self, x: Tensor) -> Tensor:
        # of the positive part, since a choice by `where` has a derivative by a that is not a number where a x < -1
        a, positive = self.b.square(), x.relu()
        return positive - torch.log1p(a * positive) / a


def use_activation(network: nn.Module, activation: str, arch: str = "this network") -> None:
    """Put these activations in the place of every ReLU module of a network, anybody's too: a choice layer where they
    are several joined by `+`. A module that a network uses in several places stays one module.

    Raises InvalidValue for what is no activation, and for another one than a ReLU if there is no such module.
    """
    parts = activations(activation)
    if [part.label for part in parts] == [RELU]:
        return
    if not replace(network, nn.ReLU, lambda _: _activation(parts)):
        raise InvalidValue("activation", activation, f"{RELU!r}: {arch} has no nn.ReLU modules, which are what another "
                           "activation replaces", [RELU])


def _activation(parts: tuple[Part, ...]) -> nn.Module:
    built = {part.label: ACTIVATIONS[part.kind].build(*part.numbers) for part in parts}
    return ChoiceLayer(built) if len(built) > 1 else next(iter(built.values()))
