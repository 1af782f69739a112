"""What files of results are made of: parts of stated types, and packed arrays.

Arrays are packed into JSON as bits or bytes, compressed, in base64.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from rnabench.scoring.outcome import bits, from_bits

Kind = Literal["bits", "int64", "float64"]
STORED = {"bits": "u1", "int64": "<i8", "float64": "<f8"}


class Stored(BaseModel):
    """A part of a file: frozen, of just the types that it states, and unknown names are errors."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    def content(self) -> dict[str, Any]:
        """As JSON has it, without what was never said."""
        return self.model_dump(mode="json", exclude_unset=True)


class Packed(Stored):
    """An array of any shape; every value comes back exactly.

    `data` is base64 (RFC 4648) of zlib (RFC 1950) of the values in C order, the last axis fastest: int64 and float64
    little-endian, bits eight to a byte with the first in its highest place, the last byte filled up with zeros.
    """

    packed: Kind = Field(description="what the values are")
    shape: list[Annotated[int, Field(ge=0)]] = Field(description="length of each axis")
    data: str = Field(description="base64 of zlib of the values in C order")

    @classmethod
    def of(cls, values: NDArray[Any]) -> Self:
        """An array of bool, int64 or float64."""
        kind = "bits" if values.dtype == bool else str(values.dtype)
        raw = np.packbits(values) if kind == "bits" else values.astype(STORED[kind])
        return cls.model_validate({"packed": kind, "shape": list(values.shape),
                                   "data": base64.b64encode(zlib.compress(raw.tobytes(), 9)).decode()})

    def array(self) -> NDArray[Any]:
        """The values, bits as bool. Raises ValueError if `data` is damaged."""
        count = math.prod(self.shape)
        size = -(-count // 8) if self.packed == "bits" else 8 * count
        try:
            opened = zlib.decompressobj()
            raw = opened.decompress(base64.b64decode(self.data, validate=True), size + 1)  # at most
        except (ValueError, zlib.error, OverflowError):
            raw = b""
        if len(raw) != size or not opened.eof:
            raise ValueError(f"expected {count} packed values")
        values = np.frombuffer(raw, dtype=STORED[self.packed])
        if self.packed == "bits":
            values = np.unpackbits(values, count=count).astype(bool)
        return values.reshape(self.shape)

    @model_validator(mode="after")
    def _can_be_opened(self) -> Self:
        self.array()
        return self


class PackedBits(Packed):
    """An array of 0 and 1."""

    packed: Literal["bits"] = Field(description="what the values are")


def pack(value: Any) -> Any:
    """A JSON-like value in which strings of 0 and 1, lists of integers alone or of floats alone, and lists of equally
    long ones are packed where that is shorter. `unpack` gives back just the same, types and last bits included."""
    kind, shape = _form(value)
    if kind is not None:
        values = from_bits("".join(_leaves(value))) if kind == "bits" else np.array(value, dtype=kind)
        packed = Packed.of(values.reshape(shape)).content()
        return packed if len(json.dumps(packed)) < len(json.dumps(value)) else value
    if isinstance(value, dict):
        return {name: pack(part) for name, part in value.items()}
    return [pack(part) for part in value] if isinstance(value, list | tuple) else value


def unpack(value: Any) -> Any:
    """The inverse of `pack`. Raises pydantic's ValidationError (a ValueError) for a damaged array."""
    if isinstance(value, dict):
        if value.keys() == Packed.model_fields.keys():
            packed = Packed.model_validate(value)
            return _as_text(packed.array()) if packed.packed == "bits" else packed.array().tolist()
        return {name: unpack(part) for name, part in value.items()}
    return [unpack(part) for part in value] if isinstance(value, list) else value


def _form(value: Any) -> tuple[Kind | None, tuple[int, ...]]:
    """As what `value` could be packed, and the shape; None if it is no array."""
    if isinstance(value, str):
        return ("bits", (len(value),)) if value and not value.strip("01") else (None, ())
    if type(value) is int and abs(value) < 1 << 63:  # not bool, which is an int, too
        return "int64", ()
    if isinstance(value, float):
        return "float64", ()
    if isinstance(value, list | tuple) and value:
        forms = {_form(part) for part in value}
        kind, shape = forms.pop()
        if not forms and kind is not None:
            return kind, (len(value), *shape)
    return None, ()


def _leaves(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [leaf for part in value for leaf in _leaves(part)]


def _as_text(values: NDArray[np.bool_]) -> Any:
    return bits(values) if values.ndim == 1 else [_as_text(row) for row in values]
