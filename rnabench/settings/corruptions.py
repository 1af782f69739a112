"""Common corruptions of test images (Hendrycks and Dietterich 2019): what one declares, and how one is named.

A corruption is a function of images with one parameter that says how strong it is, in a file of
`rnabench.data.corruptions` or of another package:

    @corruption("grey", 0.2, 0.4, 0.6, 0.8, 1.0)
    def grey(images, share, numbers):
        '''A share of the colour is lost.'''
        return (1 - share) * images + share * images.mean(1, keepdims=True)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnabench.errors import InvalidValue, RnabenchError
from rnabench.settings.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Apply = Callable[[NDArray[np.float64], Any, Any], NDArray[np.float64]]

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Corruption:
    """`apply` takes images float64 [N, 3, H, W] in [0, 1], the level of a severity, and the random numbers of these
    examples (`rnabench.data.corrupt.Numbers`); what it returns is clipped to [0, 1]. `levels` has one for each of the
    five severities."""

    summary: str
    levels: tuple[Any, ...]
    apply: Apply


CORRUPTIONS: Registry[Corruption] = Registry("corruption", "rnabench.data.corruptions", "rnabench.corruptions")


def corruption(name: str, *levels: Any) -> Callable[[Apply], Apply]:
    """Registers a function as the corruption of that name. Raises RnabenchError unless it has five levels and a
    docstring, and for a name that is taken."""
    def add(function: Apply) -> Apply:
        summary = inspect.cleandoc(function.__doc__ or "").partition("\n\n")[0]
        if len(levels) != len(SEVERITIES) or not summary:
            raise RnabenchError(f"corruption: {name!r} has {len(levels)} levels and the docstring {summary!r}; "
                                f"expected {len(SEVERITIES)} levels and a sentence")
        CORRUPTIONS.add(name, Corruption(summary, levels, function), declared=function)
        return function
    return add


@dataclass(frozen=True)
class Corrupted:
    """A corruption by name, and how severe it is: 1 to 5. Raises InvalidValue for one that does not exist."""

    name: str
    severity: int

    def __post_init__(self) -> None:
        CORRUPTIONS.get(self.name)
        if self.severity not in SEVERITIES:
            raise InvalidValue("severity", self.severity, "1, 2, 3, 4 or 5")

    def __str__(self) -> str:
        return f"{self.name}:{self.severity}"


def parse_corruption(text: str) -> Corrupted:
    """`gaussian-noise:3`. Raises InvalidValue with the nearest name."""
    name, _, severity = text.partition(":")
    CORRUPTIONS.get(name)
    if severity not in map(str, SEVERITIES):
        raise InvalidValue("corruption", text, f"a severity from 1 to 5 behind the name, such as {name}:3")
    return Corrupted(name, int(severity))
