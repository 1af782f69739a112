"""Journals of long runs: one line per finished batch, so that a stopped or killed run goes on."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rnabench.environment import made_by
from rnabench.errors import Busy
from rnabench.evaluation.outcome import Outcome, bits, from_bits
from rnabench.files import write_text, writing
from rnabench.locks import claimed, is_claimed

Key = tuple[str, ...]


class Lines:
    """Finished batches of the run `digest`, JSON each, in `file`, or in memory only (None).

    A half-written last line (a killed run) is dropped; a journal of another run is begun anew. Every batch is kept
    with what made it: the revision, torch and `device`.
    """

    def __init__(self, file: Path | None, digest: str, device: str = "cpu") -> None:
        self.file, self.device = file, device
        self._parts: dict[Key, list[dict[str, Any]]] = {}
        self._head: list[str] | None = [json.dumps({"digest": digest}), *self._read(digest)]

    def contents(self, key: Key) -> list[dict[str, Any]]:
        """The finished batches of a cell, in order."""
        return list(self._parts.get(key, ()))

    def makers(self, key: Key | None = None) -> list[dict[str, Any]]:
        """What made the finished batches of a cell, or of all cells: each once."""
        parts = [part for cell, parts in self._parts.items() for part in parts if key in (None, cell)]
        return distinct(part["made_by"] for part in parts if "made_by" in part)

    def append(self, key: Key, content: dict[str, Any]) -> None:
        """Keep the next batch of the cell `key`."""
        content = {**content, "made_by": made_by(self.device)}
        self._parts.setdefault(key, []).append(content)
        if self.file is not None:
            if self._head is not None:  # only now, so that a run that fails at once leaves nothing
                write_text(self.file, "".join(line + "\n" for line in self._head))
                self._head = None
            with writing(self.file), self.file.open("a") as handle:
                handle.write(json.dumps({"cell": key, **content}) + "\n")
                handle.flush()
                os.fsync(handle.fileno())

    def remove(self) -> None:
        """Delete the file: the record holds everything now."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)

    def _read(self, digest: str) -> list[str]:
        if self.file is None or not self.file.exists():
            return []
        kept: list[str] = []
        try:
            lines = self.file.read_text(errors="replace").splitlines()
        except FileNotFoundError:  # another process has just finished the run, and removed it
            return []
        try:
            if not lines or json.loads(lines[0])["digest"] != digest:
                return []
            for line in lines[1:]:
                content = json.loads(line)
                key = tuple(map(str, content.pop("cell")))
                self._parts.setdefault(key, []).append(content)
                kept.append(line)
        except (ValueError, KeyError, TypeError, AttributeError):
            pass  # what follows a damaged line is run again
        return kept


def distinct(makers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each once, in order."""
    return list({json.dumps(maker, sort_keys=True): maker for maker in makers}.values())


class Journal:
    """The journals of an evaluation: in `folder` (None: in memory only) a file per cell, an `Outcome` per batch.

    Processes may share the folder: each cell's file has a lock of its own. `is_over` says whether one of them has
    finished the evaluation, and so removed the folder.
    """

    def __init__(self, folder: Path | None, digest: str, is_over: Callable[[], bool] = lambda: False,
                 device: str = "cpu") -> None:
        self.folder, self.digest, self.is_over, self.device = folder, digest, is_over, device
        self._memory: dict[Key, Lines] = {}

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

    def _lines(self, key: Key) -> Lines:
        if self.folder is None:
            return self._memory.setdefault(key, Lines(None, self.digest, self.device))
        return Lines(self._file(key), self.digest, self.device)

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
