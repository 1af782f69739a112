"""Files of tensors (safetensors) that may be larger than memory: joined from pieces, and read row by row."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from rnabench.errors import RnabenchError
from rnabench.runtime.files import atomic, writing

BYTES = {"I64": 8, "F32": 4, "U8": 1}  # of the kinds of numbers that are joined


def opened(file: Path, what: str) -> Any:
    """An open file of tensors: `metadata()`, `keys()`, `get_slice(name)`, whose rows are numpy arrays.

    Raises RnabenchError, which calls the file `what`, where it is missing, damaged or of another kind.
    """
    try:
        if not file.is_file():
            raise RnabenchError(f"{what}: {str(file)!r} is not there; expected a file that `rnabench attack "
                                "--keep-images` wrote")
        return safe_open(file, "np")  # type: ignore[no-untyped-call]
    except (OSError, SafetensorError) as error:
        raise RnabenchError(f"{what}: {str(file)!r} is damaged, or no file of tensors "
                            f"({' '.join(str(error).split())}); expected .safetensors") from None


def join(pieces: Sequence[Path], target: Path, metadata: Mapping[str, str], what: str) -> None:
    """Write the tensors of `pieces`, each one behind the other along its first dimension, to `target`, atomically.

    Memory holds one tensor of one piece at a time, which the safetensors library, whose writer wants all of a file at
    once, does not offer. All pieces have tensors of the same names, kinds and shapes but for the first dimension.
    Raises RnabenchError for a piece that is missing or damaged, and where nothing can be written.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(opened(piece, what)) for piece in pieces]
        first = {name: files[0].get_slice(name) for name in files[0].keys()}  # noqa: SIM118 - no mapping
        # the widest numbers first, so that each lies where a multiple of its size does
        names = sorted(first, key=lambda name: (-BYTES[first[name].get_dtype()], name))
        header: dict[str, Any] = {"__metadata__": dict(metadata)}
        end = 0
        for name in names:
            kind, shape = first[name].get_dtype(), first[name].get_shape()
            shape[0] = sum(file.get_slice(name).get_shape()[0] for file in files)
            begin, end = end, end + math.prod(shape) * BYTES[kind]
            header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic(target) as temporary, temporary.open("wb") as out:
                out.write(struct.pack("<Q", len(text)) + text)
                for name in names:
                    for file in files:
                        out.write(file.get_tensor(name).tobytes())
