"""What an architecture declares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from rnabench.errors import InvalidValue, one_of
from rnabench.settings.parts import NONE, RELU, activations, denoisers, options_of_defence
from rnabench.settings.registry import Registry
from rnabench.settings.spaces import Space, parse_space

Build = TypeVar("Build", bound=Callable[..., Any])

USUAL_SPACE = "bn+in"  # of settings that do not say one
WITHOUT_NORMS = "none"  # of an architecture that has no normalisation layers


@dataclass(frozen=True)
class Architecture:
    """`build`: (norm factory, classes, width) -> network; `width` is the paper's, `width_means` what it counts;
    `image_size` the side in pixels of the images that it is meant for.

    `operators`, of a super-network alone: how many operators a choice layer has if nobody says; its `build` takes the
    number as a keyword. `normalised`: whether it has normalisation layers, so that `--space` says something.
    """

    build: Callable[..., Any]
    width: int
    width_means: str
    image_size: int
    operators: int | None = None
    normalised: bool = True


ARCHITECTURES: Registry[Architecture] = Registry("arch", "rnabench.model", "rnabench.architectures")


def architecture(name: str, *, width: int, width_means: str, image_size: int, operators: int | None = None,
                 normalised: bool = True) -> Callable[[Build], Build]:
    """Decorates the function that builds a network, in a file of `rnabench.model` or of another package.

    It calls the norm factory once for each normalisation layer, with its number of channels, and maps images
    [N, 3, H, W] that are normalised already to logits [N, classes].
    """
    def register(build: Build) -> Build:
        ARCHITECTURES.add(name, Architecture(build, width, width_means, image_size, operators, normalised), build)
        return build
    return register


def space_of(arch: str, space: str) -> Space:
    """The space that `space` spells, for this architecture: an empty one if it has no normalisation layers. Raises
    InvalidValue, also for normalisers that it has no place for."""
    if ARCHITECTURES.get(arch).normalised:
        return parse_space(space)
    if space != WITHOUT_NORMS:
        raise InvalidValue("space", space, f"{WITHOUT_NORMS!r}: {arch} has no normalisation layers")
    return Space(())


def spelled_space(arch: str, space: str) -> str:
    """The standard spelling of a space for this architecture. USUAL_SPACE, which settings have that do not say one, is
    WITHOUT_NORMS where there are no normalisation layers. Raises InvalidValue as `space_of` does."""
    if space == USUAL_SPACE and not ARCHITECTURES.get(arch).normalised:
        return WITHOUT_NORMS
    return str(space_of(arch, space)) or space


def operators_of(arch: str, operators: int | None) -> int | None:
    """How many operators a choice layer of this super-network has, `operators` or its own number; None for another
    network. Raises InvalidValue for a number of operators that it has no place for."""
    own = ARCHITECTURES.get(arch).operators
    if operators is not None and own is None:
        supers = [name for name, each in ARCHITECTURES.items() if each.operators is not None]
        raise InvalidValue("operators", operators, f"none for {arch}, or a super-network: {one_of(supers)}")
    return own if operators is None else operators


def options_of(arch: str, space: str, operators: int | None, activation: str = RELU, denoise: str = NONE,
               defence: str = NONE) -> int:
    """The most options that a choice layer of such a network has; 1: nothing is random. Raises InvalidValue."""
    return max(len(space_of(arch, space).norms), operators_of(arch, operators) or 1, len(activations(activation)),
               len(denoisers(denoise)), options_of_defence(defence))
