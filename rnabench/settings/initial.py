"""Which weights a training starts from, in the words of a recipe, and what they are called in a run's identity."""

from __future__ import annotations

import hashlib
import re
import stat
from functools import lru_cache
from pathlib import Path

from rnabench.errors import InvalidValue

TORCHVISION = "torchvision:"
EXPECTED = "torchvision:NAME, such as torchvision:ResNet50_Weights.IMAGENET1K_V1, or a file of weights"


def checked_init(text: str) -> str:
    """The same. Raises InvalidValue for what is no name; whether it is there is asked when it is needed."""
    name = text.removeprefix(TORCHVISION)
    if not text.strip() or "\0" in text or (name != text and not re.fullmatch(r"\w+_Weights\.\w+", name, re.ASCII)):
        raise InvalidValue("init", text, EXPECTED)
    return text


def init_identity(text: str) -> str:
    """What the weights are, wherever they lie: torchvision's name, which stands for one file, or the file's hash.
    Raises InvalidValue for a file that cannot be read."""
    if text.startswith(TORCHVISION):
        return text
    file = Path(text)
    try:
        said = file.stat()
        if not stat.S_ISREG(said.st_mode) and not file.is_dir():  # a pipe would be waited for
            raise InvalidValue("--init", text, f"{EXPECTED} (no file)")
        return f"sha256:{_hash(file, said.st_mtime_ns, said.st_size)}"
    except OSError as error:
        raise InvalidValue("--init", text, f"{EXPECTED} ({error.strerror})") from None


def init_name(text: str) -> str:
    """What others are told of it: not in which folder the file lies."""
    return text if text.startswith(TORCHVISION) else re.split(r"[/\\]", text)[-1]


@lru_cache(16)
def _hash(file: Path, changed: int, size: int) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
