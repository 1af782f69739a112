"""Journals of long runs: what is finished, batch by batch, so that a stopped or killed run goes on.

Files rather than one SQLite database for each run. Whose work a piece is must be known from a lock that the operating
system frees when a process is killed, beside a database too, so the claims of `runtime.locks` would stay; a database
adds locks on its whole file, which network file systems often lack, and it must not be deleted, as a journal is in the
end, while another process has it open. All that it would save is what is done here about a half-written last line.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnabench.errors import Busy
from rnabench.runtime.environment import made_by
from rnabench.runtime.files import write_text, writing
from rnabench.runtime.leases import check_held
from rnabench.runtime.locks import claimed, is_claimed
from rnabench.settings.base import digest

Key = tuple[str, ...]
Batch = dict[str, Any]
LONGEST = 150  # characters of a file's name, which file systems limit


class Journal:
    """The finished batches of the run `digest`, JSON each, by the key of their piece of work (a cell, a part of a
    study): a file of lines per piece in `folder`, or in memory only (None).

    Every batch is kept with what made it: the revision, torch and `device`. Processes may share the folder: whoever
    works on a piece claims it. `is_over` says whether one of them has finished the whole run, and so removed the
    folder. A half-written last line (a killed process) does not count, nor does a file of another run.

    Every line has its number and a checksum: from one on that was changed, or is not the next (doubled, lost, moved),
    batches are done anew, and `tell` is told so.
    """

    def __init__(self, folder: Path | None, digest: str, device: str = "cpu",
                 is_over: Callable[[], bool] = lambda: False, tell: Callable[[str], None] = lambda text: None) -> None:
        self.folder, self.digest, self.device, self.is_over, self.tell = folder, digest, device, is_over, tell
        self._memory: list[tuple[Key, Batch]] = []
        self._whole: dict[Path, int] = {}  # of files that end with a whole line, so that more can be added: how many
        self._damaged: set[Path] = set()  # files that were told of

    @property
    def maker(self) -> dict[str, str | None]:
        """What makes batches in this process."""
        return made_by(self.device)

    def batches(self, key: Key | None = None) -> list[Batch]:
        """The finished batches of a piece, or of all pieces (None), in order."""
        kept = self._memory
        if self.folder is not None:
            files = sorted(self.folder.glob("*.jsonl")) if key is None else [self._file(key)]
            kept = [entry for file in files for entry in self._read(file)]
        return [batch for own, batch in kept if key in (None, own)]

    def makers(self, key: Key | None = None) -> list[dict[str, Any]]:
        """What made the finished batches of a piece, or of all pieces (None): each once."""
        return distinct(batch["made_by"] for batch in self.batches(key) if "made_by" in batch)

    @contextmanager
    def claimed(self, key: Key) -> Iterator[None]:
        """Hold a piece inside the block, so that no other process works on it; what others have done is read again.

        Raises Busy if another process has it, or has just finished the run.
        """
        if self.folder is None:
            yield
            return
        name = " / ".join(key[:2])
        with claimed(self._claim(key), name):
            if self.is_over():
                raise Busy(f"{name}: another process has just finished it")
            self._whole.pop(self._file(key), None)
            yield

    def is_free(self, key: Key) -> bool:
        """Whether no other process has claimed the piece."""
        return self.folder is None or not is_claimed(self._claim(key))

    def append(self, key: Key, batch: Batch) -> None:
        """Keep the next batch of a piece."""
        batch = {**batch, "made_by": self.maker}
        if self.folder is None:
            self._memory.append((key, batch))
            return
        file = self._file(key)
        if file not in self._whole:  # a half-written line goes; a file of another run is begun anew
            kept = [self._line(number, *entry) for number, entry in enumerate(self._read(file))]
            write_text(file, "".join([json.dumps({"digest": self.digest}) + "\n", *kept]))
            self._whole[file] = len(kept)
        check_held()
        with writing(file), file.open("a") as handle:
            handle.write(self._line(self._whole[file], key, batch))
            handle.flush()
            os.fsync(handle.fileno())
        self._whole[file] += 1

    def beside(self, key: Key, ending: str) -> Path | None:
        """A file for what a piece that is under way goes on from; it goes when the folder does. None: in memory only.
        What is written there says itself whose it is."""
        if self.folder is None:
            return None
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        return self._file(key).with_suffix(ending)

    def remove(self) -> None:
        """Delete the files: the record holds everything now."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, file: Path) -> list[tuple[Key, Batch]]:
        """The batches up to the first line that is not what was written as that line."""
        entries: list[tuple[Key, Batch]] = []
        try:
            text = file.read_text(errors="replace")
        except FileNotFoundError:  # not begun, or finished by another process, which removed it
            return []
        head, *lines = text.splitlines() or [""]
        try:
            if json.loads(head)["digest"] != self.digest:
                return []
            for line in lines:
                batch = json.loads(line)
                key, number, check = tuple(map(str, batch.pop("cell"))), batch.pop("line"), batch.pop("check")
                if (number, check) != (len(entries), self._check(len(entries), key, batch)):
                    raise ValueError
                entries.append((key, batch))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            cut_off = len(entries) == len(lines) - 1 and not text.endswith("\n")
            if not cut_off and file not in self._damaged:
                self._damaged.add(file)
                self.tell(f"begun anew from batch {len(entries) + 1} on: {str(file)!r} was changed or damaged; "
                          "expected every batch once, in order")
        return entries

    def _file(self, key: Key) -> Path:
        assert self.folder is not None
        return self.folder / ("--".join(re.sub(r"[^\w.+-]", "-", part) for part in key)[:LONGEST] + ".jsonl")

    def _claim(self, key: Key) -> Path:
        """What is locked for a piece: a name beside the folder, which is removed in the end, unlike locks."""
        assert self.folder is not None
        return self.folder.with_name(f"{self.folder.name}--{self._file(key).stem}")

    def _line(self, number: int, key: Key, batch: Batch) -> str:
        written = {"cell": key, "line": number, "check": self._check(number, key, batch), **batch}
        return json.dumps(written) + "\n"

    def _check(self, number: int, key: Key, batch: Batch) -> str:
        return digest({"run": self.digest, "line": number, "cell": list(key), "batch": batch})


def distinct(makers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each once, in order."""
    return list({json.dumps(maker, sort_keys=True): maker for maker in makers}.values())
