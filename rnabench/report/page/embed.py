"""Notes and figures of a result folder as the page holds them: Markdown as HTML, images as data URIs."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from markupsafe import Markup
from PIL import Image

from rnabench.report.figure import few_colours

TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
PIXELS_PER_POINT, PNG_SCALE = 4 / 3, 96 / 160  # figures are saved with 160 dots per inch; a CSS inch has 96 pixels
PAGE_WIDTH, QUALITY = 900, 40  # pixels of the widest image on the page, and WebP's quality of what was wider
FEW = 24  # colours of an image on the page that is no wider: lines and letters need no more
DAMAGED = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # or another format under the name of a PNG
Encoded = tuple[str, bytes, int, int]
"""An image's type and bytes, and its width and height on the page in CSS pixels (0: not known)."""

# begun from nothing, so that all else in the text, HTML too, is escaped
MARKDOWN = MarkdownIt("zero").enable(["heading", "table", "list", "backticks", "emphasis", "link", "image"])
for part in ("link_open", "link_close", "image"):  # the page leads nowhere else: of a link only its words are kept
    MARKDOWN.add_render_rule(part, lambda *_: "")


@dataclass(frozen=True)
class EmbeddedFigure:
    """An image and how large it is on the page, in CSS pixels (0: not known)."""

    caption: str
    uri: str
    width: int
    height: int


def inline(text: str) -> Markup:
    """`code`, **strong**, *emphasis* and the words of links."""
    return Markup(MARKDOWN.renderInline(text))


def paragraphs(text: str) -> Markup:
    """Paragraphs and lists. Headings and tables are left out: the page has its own."""
    blocks = SyntaxTreeNode(MARKDOWN.parse(text)).children
    kept = [token for block in blocks if block.type not in ("heading", "table") for token in block.to_tokens()]
    return Markup(MARKDOWN.renderer.render(kept, MARKDOWN.options, {}))


def first_heading(file: Path) -> str | None:
    """The first `# ` heading of a Markdown file, if there is one."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    return next((line[2:].strip() for line in lines if line.startswith("# ")), None)


def stems(folder: Path) -> list[str]:
    """The names of a folder's figures, without their ending."""
    return sorted({file.stem for file in folder.iterdir() if file.suffix in TYPES and not file.name.startswith(".")})


def belong_to(figures: Iterable[str], owners: Iterable[str]) -> dict[str, list[str]]:
    """By owner, the figures named after it (`figure2` has `figure2-layers`); under an empty name those of none."""
    longest_first = sorted(owners, key=len, reverse=True)
    by_owner: dict[str, list[str]] = {}
    for stem in figures:
        owner = next((each for each in longest_first if stem == each or stem.startswith(f"{each}-")), "")
        by_owner.setdefault(owner, []).append(stem)
    return by_owner


def embed(folder: Path, stem: str, caption: str) -> EmbeddedFigure:
    """The figure of that name: what its PNG becomes on the page or its SVG, whichever is smaller."""
    found = [_from_svg(file) if ending == ".svg" else _from_png(file) for ending in TYPES
             if (file := folder / (stem + ending)).exists()]
    kind, content, width, height = min(found, key=lambda each: len(each[1]))
    return EmbeddedFigure(caption, f"data:{kind};base64,{base64.b64encode(content).decode()}", width, height)


def _from_png(file: Path) -> Encoded:
    """As WebP, which takes a third to half of the bytes: of few colours, or, if it is wider than the page and that
    takes less, as wide as the page and compressed like a photograph. What cannot be read is left as it is."""
    content = file.read_bytes()
    try:
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            picture = image.convert("RGBA" if image.has_transparency_data else "RGB")
    except DAMAGED:
        return TYPES[".png"], content, 0, 0
    opaque = picture.mode == "RGB"  # transparent places would become colours
    found = [_as_webp(few_colours(picture, FEW).convert("RGB") if opaque else picture, lossless=True)]
    if picture.width > PAGE_WIDTH:
        height = round(picture.height * PAGE_WIDTH / picture.width)
        found.append(_as_webp(picture.resize((PAGE_WIDTH, height), Image.Resampling.LANCZOS), quality=QUALITY))
    return "image/webp", min(found, key=len), round(picture.width * PNG_SCALE), round(picture.height * PNG_SCALE)


def _as_webp(picture: Image.Image, **options: Any) -> bytes:
    written = BytesIO()
    picture.save(written, "WEBP", **options)
    return written.getvalue()


def _from_svg(file: Path) -> Encoded:
    content = file.read_bytes()
    return TYPES[".svg"], content, *_svg_size(content)


def _svg_size(content: bytes) -> tuple[int, int]:
    """Read off the text: an XML parser would read the whole of it, and follow what a stranger declares in it."""
    opening = re.search(rb"<svg\b[^>]*>", content)
    sides = [re.search(rb'\s' + side + rb'="([\d.]+)(pt|px)?"', opening[0]) if opening else None
             for side in (b"width", b"height")]
    width, height = (round(float(side[1]) * (PIXELS_PER_POINT if side[2] == b"pt" else 1)) if side else 0
                     for side in sides)
    return width, height
