"""Work on a batch that a stop, or a kill, interrupts: what its loops had come to lies in a file, until it is done.

The file is of tensors (safetensors), never of pickled objects; its metadata say of which work it is and how the tensors
belong together. One that is damaged, or of other work, does not count.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from rnabench.attack.resumable import Bookmark, Note, opened
from rnabench.runtime.files import write_bytes
from rnabench.runtime.journal import Journal, Key
from rnabench.runtime.stopping import StopRequest
from rnabench.settings.base import digest

SAVE_SECONDS = 30.0  # a killed process loses about as much work
SHARE = 0.05  # of the time at most that is spent on saving: the state of a batch of large images takes long to write
ENDING = ".batch"
Metadata = dict[str, str]


class Interrupted:
    """One batch of a piece of work of a journal; `seconds` were spent on it before."""

    def __init__(self, journal: Journal, key: Key, number: int, stop: StopRequest, where: str) -> None:
        self.file, self.stop, self.where = journal.beside(key, ENDING), stop, where
        self.work = digest({"run": journal.digest, "piece": list(key), "batch": number, "made_by": journal.maker})
        notes, self.seconds = _read(self.file, self.work)
        self.bookmark = Bookmark(notes, self._on_item)
        self._began, self._due = time.monotonic(), time.monotonic() + SAVE_SECONDS
        self._caught_up: float | None = None if notes else self._began

    def done(self) -> None:
        """The batch is in the journal."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)

    def passed(self) -> None:
        """The network was asked something. Raises Stopped where no loop says in time that the work can be left."""
        if self.stop.presses:
            raise self.stop.stopped(self.where)

    def _on_item(self) -> None:
        started = time.monotonic()
        if self._caught_up is None:
            self._caught_up = started
        # an attack with a plain loop is run again up to where it was: as much again is new before it may be left, so
        # that every slice makes progress
        stopping = bool(self.stop) and started - self._caught_up >= self._caught_up - self._began
        if not stopping and started < self._due:
            return
        if self.file is not None:
            _write(self.file, self.work, self.bookmark.notes, self.seconds + started - self._began)
        if stopping:
            raise self.stop.stopped(self.where)
        ended = time.monotonic()
        self._due = ended + max(SAVE_SECONDS, (ended - started) / SHARE)


@contextmanager
def one_batch(journal: Journal, key: Key, number: int, stop: StopRequest, where: str) -> Iterator[Interrupted]:
    """Work on batch `number` inside the block, whose loops (`resumable`) go on from where an earlier process left them.
    They are saved every now and then, and once `stop` asks; then Stopped is raised, which names the place `where`."""
    interrupted = Interrupted(journal, key, number, stop, where)
    with opened(interrupted.bookmark):
        yield interrupted


def _write(file: Path, work: str, notes: list[Note], seconds: float) -> None:
    tensors: dict[str, Tensor] = {}
    content = [{"place": note.place, "item": note.item, "is_over": note.is_over,
                "values": [_packed(values, tensors) for values in note.values]} for note in notes]
    write_bytes(file, save(tensors, {"work": work, "seconds": repr(seconds), "notes": json.dumps(content)}))


def _read(file: Path | None, work: str) -> tuple[list[Note], float]:
    """The notes in a file, and the seconds that were spent; none of a file that is not whole, or of other work."""
    if file is None or not file.is_file():
        return [], 0.0
    try:
        with safe_open(file, "pt") as opened_file:  # type: ignore[no-untyped-call]
            said: Metadata = opened_file.metadata() or {}
            if said.get("work") != work:
                return [], 0.0
            tensors = {name: opened_file.get_tensor(name) for name in opened_file.keys()}  # noqa: SIM118 - no mapping
        return [Note(tuple(note["place"]), int(note["item"]), bool(note["is_over"]),
                     [_unpacked(values, tensors) for values in note["values"]])
                for note in json.loads(said["notes"])], float(said["seconds"])
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError, RecursionError):
        return [], 0.0


def _packed(value: Any, tensors: dict[str, Tensor]) -> Any:
    """As JSON; tensors and arrays are put among `tensors`, and named."""
    if isinstance(value, np.ndarray):
        return {"array": _packed(torch.from_numpy(value), tensors)}
    if isinstance(value, Tensor):
        tensors[name := str(len(tensors))] = value.contiguous().cpu()
        # in the order in which they lay, since kernels for channels-last images round differently
        return {"tensor": name, "strides": value.stride(), "device": str(value.device)}
    if isinstance(value, list):
        return [_packed(each, tensors) for each in value]
    if isinstance(value, dict):
        return {"values": {name: _packed(each, tensors) for name, each in value.items()}}
    return value


def _unpacked(content: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(content, list):
        return [_unpacked(each, tensors) for each in content]
    if not isinstance(content, dict):
        return content
    if "array" in content:
        return _unpacked(content["array"], tensors).numpy()
    if "tensor" in content:
        kept = tensors[content["tensor"]]
        laid_out = torch.empty_strided(kept.shape, content["strides"], dtype=kept.dtype, device=content["device"])
        return laid_out.copy_(kept)
    return {name: _unpacked(each, tensors) for name, each in content["values"].items()}
