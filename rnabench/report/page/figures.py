"""Figures of a result folder as data URIs, the smaller of PNG and SVG."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
PIXELS_PER_POINT, PNG_SCALE = 4 / 3, 96 / 160  # figures are saved with 160 dots per inch; a CSS inch has 96 pixels


@dataclass(frozen=True)
class EmbeddedFigure:
    """An image and how large it is on the page, in CSS pixels (0: not known)."""

    caption: str
    uri: str
    width: int
    height: int


def stems(folder: Path) -> list[str]:
    """The names of a folder's figures, without their ending."""
    return sorted({file.stem for file in folder.iterdir() if file.suffix in TYPES and not file.name.startswith(".")})


def belong_to(figures: Iterable[str], owners: Iterable[str]) -> dict[str, list[str]]:
    """By owner, the figures named after it (`figure2` has `figure2-layers`); under an empty name those of none."""
    longest_first = sorted(owners, key=len, reverse=True)
    found: dict[str, list[str]] = {}
    for stem in figures:
        owner = next((each for each in longest_first if stem == each or stem.startswith(f"{each}-")), "")
        found.setdefault(owner, []).append(stem)
    return found


def embed(folder: Path, stem: str, caption: str) -> EmbeddedFigure:
    """The figure of that name."""
    there = [file for ending in TYPES if (file := folder / (stem + ending)).exists()]
    file = min(there, key=lambda each: each.stat().st_size)
    content = file.read_bytes()
    width, height = _svg_size(content) if file.suffix == ".svg" else _png_size(content)
    uri = f"data:{TYPES[file.suffix]};base64,{base64.b64encode(content).decode()}"
    return EmbeddedFigure(caption, uri, width, height)


def _png_size(content: bytes) -> tuple[int, int]:
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        return 0, 0
    width, height = struct.unpack(">II", content[16:24])
    return round(width * PNG_SCALE), round(height * PNG_SCALE)


def _svg_size(content: bytes) -> tuple[int, int]:
    opening = re.search(rb"<svg\b[^>]*>", content)
    sides = [re.search(rb'\s' + side + rb'="([\d.]+)(pt|px)?"', opening[0]) if opening else None
             for side in (b"width", b"height")]
    width, height = (round(float(side[1]) * (PIXELS_PER_POINT if side[2] == b"pt" else 1)) if side else 0
                     for side in sides)
    return width, height
