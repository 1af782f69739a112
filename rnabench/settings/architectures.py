"""The architectures by name. Knows no tensors, so that names are checked without importing torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from rnabench.errors import InvalidValue, one_of


@dataclass(frozen=True)
class Architecture:
    """`width` is the paper's; `width_means` says what the number counts; `module`:`function` builds the network."""

    width: int
    width_means: str
    image_size: int
    module: str
    function: str

    def builder(self) -> Callable[..., Any]:
        """The function (norm factory, classes, width) -> network."""
        build: Callable[..., Any] = getattr(import_module(self.module), self.function)
        return build


ARCHITECTURES = {
    "resnet18": Architecture(64, "channels of the first stage", 32, "rnabench.model.resnet", "resnet18"),
    "wrn32": Architecture(10, "widening factor", 32, "rnabench.model.wide_resnet", "wrn32"),
    "resnet50": Architecture(64, "channels of the stem", 224, "rnabench.model.resnet50", "resnet50"),
}


def architecture(name: str) -> Architecture:
    """The architecture of that name. Raises InvalidValue."""
    if name not in ARCHITECTURES:
        raise InvalidValue("arch", name, one_of(ARCHITECTURES), ARCHITECTURES)
    return ARCHITECTURES[name]
