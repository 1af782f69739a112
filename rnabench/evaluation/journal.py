"""The journals of an evaluation: one per cell, so that processes may share the cells."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rnabench.errors import Busy
from rnabench.runtime.journal import Journal, Key
from rnabench.runtime.locks import claimed, is_claimed
from rnabench.scoring.outcome import Outcome, bits, from_bits


class CellJournals:
    """The journals of an evaluation: in `folder` (None: in memory only) a file per cell, an `Outcome` per batch.

    Processes may share the folder: each cell's file has a lock of its own. `is_over` says whether one of them has
    finished the evaluation, and so removed the folder.
    """

    def __init__(self, folder: Path | None, digest: str, is_over: Callable[[], bool] = lambda: False,
                 device: str = "cpu") -> None:
        self.folder, self.digest, self.is_over, self.device = folder, digest, is_over, device
        self._memory: dict[Key, Journal] = {}

    def parts(self, key: Key) -> list[Outcome]:
        """The finished batches of a cell, in order."""
        return [_from_json(content) for content in self._lines(key).contents(key)]

    def makers(self, key: Key) -> list[dict[str, Any]]:
        """What made the finished batches of a cell: each once."""
        return self._lines(key).makers()

    @contextmanager
    def writing(self, key: Key) -> Iterator[Callable[[Outcome], None]]:
        """A function that keeps the next batch of the cell. Raises Busy if another process works on it."""
        lines = self._lines(key)
        if self.folder is None:
            yield lambda outcome: lines.append(key, _to_json(outcome))
            return
        name = " / ".join(key[:2])
        with claimed(self._claim(key), name):
            if self.is_over():
                raise Busy(f"{name}: another process has just finished it")
            lines = self._lines(key)  # what the process that had it has done
            yield lambda outcome: lines.append(key, _to_json(outcome))

    def is_free(self, key: Key) -> bool:
        """Whether no other process works on the cell."""
        return self.folder is None or not is_claimed(self._claim(key))

    def remove(self) -> None:
        """Delete the files: the record holds everything now."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _lines(self, key: Key) -> Journal:
        if self.folder is None:
            return self._memory.setdefault(key, Journal(None, self.digest, self.device))
        return Journal(self._file(key), self.digest, self.device)

    def _claim(self, key: Key) -> Path:
        """What is locked for a cell: a name beside the folder, which is removed in the end, unlike locks."""
        assert self.folder is not None
        return self.folder.with_name(f"{self.folder.name}--{self._file(key).stem}")

    def _file(self, key: Key) -> Path:
        assert self.folder is not None
        return self.folder / ("--".join(re.sub(r"[^\w.+-]", "-", part) for part in key) + ".jsonl")


def _to_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "attack": outcome.attack, "protocol": outcome.protocol,
        "correct": [bits(draw) for draw in outcome.correct.T],
        "majority": bits(outcome.majority), "reported": bits(outcome.reported),
        "distances": None if outcome.distances is None else outcome.distances.tolist(),
        "groups": None if outcome.groups is None else outcome.groups.tolist(), "seconds": outcome.seconds,
    }


def _from_json(content: dict[str, Any]) -> Outcome:
    correct = np.stack([from_bits(draw) for draw in content["correct"]], axis=1)
    groups = None if content["groups"] is None else np.array(content["groups"], dtype=np.int64)
    return Outcome(content["attack"], content["protocol"], correct, from_bits(content["majority"]),
                   from_bits(content["reported"]), groups, content["seconds"],
                   None if content["distances"] is None else np.array(content["distances"], dtype=float))
