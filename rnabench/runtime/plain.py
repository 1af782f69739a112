"""Values as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """The same in what JSON knows: None for NaN and infinity, lists for tuples and arrays, texts for keys and paths; of
    the name of a file that is no UTF-8, what is none is spelled out."""
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, Path | str):
        return str(value).encode(errors="backslashreplace").decode()
    return None if isinstance(value, float) and not math.isfinite(value) else value
