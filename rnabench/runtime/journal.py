"""Journals of long runs: one line per finished batch, so that a stopped or killed run goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rnabench.runtime.environment import made_by
from rnabench.runtime.files import write_text, writing

Key = tuple[str, ...]


class Journal:
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
