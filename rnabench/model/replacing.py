"""Modules of a network, found and replaced."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def replace(network: nn.Module, kind: type[nn.Module], instead: Callable[[nn.Module], nn.Module]) -> int:
    """Put `instead(module)` in the place of every module of that kind inside of a network; returns how many modules
    there were. A module that the network uses in several places stays one module."""
    places = [(name, module) for name, module in network.named_modules(remove_duplicate=False)
              if isinstance(module, kind)]
    made = {module: instead(module) for module in dict.fromkeys(module for _, module in places)}
    for name, module in places:
        network.set_submodule(name, made[module])
    return len(made)


def first_convolutions(network: nn.Module) -> dict[str, nn.Conv2d]:
    """By name, the convolution that sees the images: of several operators there, all. None of a network without."""
    places = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    first = next(iter(places), "").partition(".options.")[0]
    return {name: module for name, module in places.items() if name.partition(".options.")[0] == first}
