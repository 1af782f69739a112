"""Pixel units: how eps and step sizes are written and read. Images are in [0, 1] everywhere."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator

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


Pixels = Annotated[float, BeforeValidator(pixel_units)]
Length = Annotated[float, BeforeValidator(length)]
