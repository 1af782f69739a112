"""What an architecture declares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from rnabench.settings.registry import Registry

Build = TypeVar("Build", bound=Callable[..., Any])


@dataclass(frozen=True)
class Architecture:
    """`build`: (norm factory, classes, width) -> network; `width` is the paper's, `width_means` what it counts;
    `image_size` the side in pixels of the images that it is meant for."""

    build: Callable[..., Any]
    width: int
    width_means: str
    image_size: int


ARCHITECTURES: Registry[Architecture] = Registry("arch", "rnabench.model", "rnabench.architectures")


def architecture(name: str, *, width: int, width_means: str, image_size: int) -> Callable[[Build], Build]:
    """Decorates the function that builds a network, in a file of `rnabench.model` or of another package.

    It calls the norm factory once for each normalisation layer, with its number of channels, and maps images
    [N, 3, H, W] that are normalised already to logits [N, classes].
    """
    def register(build: Build) -> Build:
        ARCHITECTURES.add(name, Architecture(build, width, width_means, image_size), build)
        return build
    return register
