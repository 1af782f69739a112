"""Pixel units: how eps and step sizes are written and read. Images are in [0, 1] everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from rnabench.settings.base import described

PIXEL_UNITS = "a fraction such as 8/255 or a decimal, in pixel units from 0 to 1"


def pixel_units(value: object) -> float:
    """`8/255` or a decimal as a float in [0, 1]. Raises ValueError."""
    number = length(value)
    if number > 1:
        raise ValueError(f"expected {PIXEL_UNITS}; did you mean '{number:g}/255'?")
    return number


def length(value: object) -> float:
    """`8/255` or a decimal as a float that is not negative. Raises ValueError."""
    try:
        if isinstance(value, bool):
            raise TypeError
        if isinstance(value, str) and "/" in value:
            top, bottom = value.split("/")
            number = float(top) / float(bottom)
        else:
            number = float(value)  # type: ignore[arg-type]
    except (ValueError, TypeError, ZeroDivisionError):
        raise ValueError(f"expected {PIXEL_UNITS}") from None
    if not 0 <= number < float("inf"):
        raise ValueError(f"expected {PIXEL_UNITS}")
    return number


def in_255ths(value: float) -> str:
    """0.0313725 as 8/255; a decimal where it is not a whole number of 255ths."""
    scaled = value * 255
    return f"{round(scaled)}/255" if abs(scaled - round(scaled)) < 1e-6 else f"{value:.4g}"


def written(value: float) -> str:
    """The text that reads as just this number, as 8/255 where it is a whole number of 255ths."""
    text = in_255ths(value)
    return text if length(text) == value else str(value)


@dataclass(frozen=True)
class WrittenBy:
    """Metadata of a type whose values are not written as Python writes them."""

    write: Callable[[Any], str]


Pixels = Annotated[float, BeforeValidator(pixel_units), WrittenBy(written)]
Length = Annotated[float, BeforeValidator(length), WrittenBy(written)]


def _under_its_norm(value: float, info: ValidationInfo) -> float:
    return pixel_units(value) if info.data.get("norm") == "Linf" else value


ThreatSize = Annotated[Length, AfterValidator(_under_its_norm)]
"""A size in settings that say their `norm` before it: pixel units for Linf, Euclidean length for L2."""
EPS = described("Largest change of a pixel (Linf) or of the image (L2): 8/255 or a decimal.", "Attack")
STEP_SIZE = described("Step of PGD in pixel units: 2/255 or a decimal.", "Attack", "eps/4")
