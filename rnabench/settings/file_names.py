"""Names that become files and folders, and paths that users give: what every common file system can hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from rnabench.errors import InvalidValue

LONGEST_NAME, LONGEST_PATH = 255, 4095  # bytes
LONGEST_STEM = 160  # of a name of ours, which gets endings, and letters of its own while its file is written


def _fits(name: str) -> str:
    if len(name.encode()) > LONGEST_STEM:
        raise ValueError(f"expected at most {LONGEST_STEM} bytes: a file is called so")
    return name


Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
"""What a recipe calls itself: a part of a folder's name."""
FigureName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
ModelName = Annotated[str, Field(pattern=r"^\w[\w.+\[\]-]{0,63}$"), AfterValidator(_fits)]
"""A network's name, as in RNA or gn[1-64]; also a profile's. No folder: it has no / and does not begin with a dot."""


def checked_path(option: str, path: Path) -> Path:
    """The path, if there can be a file of that name. Raises InvalidValue."""
    text = str(path)
    longest = max((len(part.encode(errors="surrogateescape")) for part in path.parts), default=0)
    if longest > LONGEST_NAME or len(text.encode(errors="surrogateescape")) > LONGEST_PATH or "\0" in text:
        raise InvalidValue(option, text, f"names of at most {LONGEST_NAME} bytes, {LONGEST_PATH} together")
    return path


def shortened(name: str, unique: str) -> str:
    """The name, which ends in `unique`, or its beginning and `unique` where it is too long for a folder."""
    if len(name.encode()) <= LONGEST_STEM:
        return name
    return f"{name.encode()[:LONGEST_STEM - len(unique) - 1].decode(errors='ignore')}-{unique}"
