"""Watching a run while it works: scalars for TensorBoard and the like. They are never a part of its result.

A logger is a class for each library, registered by its name, here (`runtime/loggers/`) or by another package:

    @LOGGERS.register("tensorboard")
    class TensorBoard(Logger): ...
"""

from __future__ import annotations

import json
import secrets
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

from filelock import FileLock

from rnabench.errors import LONGEST_SHOWN, RnabenchError
from rnabench.runtime.files import write_text, writing
from rnabench.settings.documents import Bounds, Unreadable, read_json
from rnabench.settings.registry import Registry

TOLD, LOCK = "told", "told.lock"  # no .json: what looks for records passes it over
OF_TOLD = Bounds(4 << 20, 200_000)
WAIT_SECONDS = 60.0  # for a process that tells its own loggers something just now


@dataclass(frozen=True)
class Watched:
    """What a logger is told of: `title` names it, `folder` is there for its files. `run` is the same after a stop, for
    loggers that go on with a run of theirs; None where several processes may tell of one thing at a time."""

    title: str
    folder: Path
    run: str | None


class Logger(ABC):
    """Where scalars go. `library` is imported when one is asked for, and not before; `install` is what pip calls it.

    Whatever one raises is told as a warning, and the run goes on without it.
    """

    library: ClassVar[str]
    install: ClassVar[str]

    @abstractmethod
    def __init__(self, watched: Watched) -> None: ...

    @abstractmethod
    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep the values of a step, so that they are not lost if the process ends at once."""

    @abstractmethod
    def close(self) -> None:
        """Nothing more comes."""


LOGGERS: Registry[type[Logger]] = Registry("--log", "rnabench.runtime.loggers", "rnabench.loggers")


def check_loggers(names: Sequence[str]) -> None:
    """Raises InvalidValue for an unknown name, RnabenchError for one whose library is not installed."""
    for name in names:
        kind = LOGGERS.get(name)
        try:
            import_module(kind.library)
        except ImportError as error:
            raise RnabenchError(f"--log: {name!r} needs the package {kind.library!r}, which cannot be imported "
                                f"({error}); expected `pip install '{kind.install}'`") from None


class Watch:
    """Tells the loggers `names` of what a run has done; a context manager. Each piece is told to each logger once, also
    after a stop, by whatever process: the file `told` in `folder` says which were.

    The folder is of the run `digest`: what it holds of another one goes, and with `anew` what it holds of this one.
    What fails in a logger is a line to `tell`, and it is told nothing more. Raises as `check_loggers` does.
    """

    def __init__(self, names: Sequence[str], title: str, folder: Path, digest: str, tell: Callable[[str], None],
                 several: bool = False, anew: bool = False) -> None:
        check_loggers(names)
        self.title, self.folder, self.digest, self.tell, self.several = title, folder, digest, tell, several
        self._names, self._loggers, self._anew = list(dict.fromkeys(names)), dict[str, Logger](), anew

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, logger in list(self._loggers.items()):
            self._guarded(name, logger.close)

    def log(self, piece: str, step: int, values: Mapping[str, float]) -> None:
        """Tell all loggers of a piece that is done, unless they know it."""
        for name in list(self._names):
            self._guarded(name, partial(self._log, name, piece, step, values))

    def _guarded(self, name: str, call: Callable[[], None]) -> None:
        try:
            with redirect_stdout(sys.stderr):  # stdout is for results, whatever a library has to say
                call()
        except Exception as error:  # anybody's code, and servers: no reason to end hours of work
            kind = "" if isinstance(error, RnabenchError) else f"{type(error).__name__}: "
            said = f"{kind}{' '.join(str(error).split())}"[:LONGEST_SHOWN]
            self.tell(f"warning: --log {name}: {said}; going on without it")
            self._names = [each for each in self._names if each != name]
            if (failed := self._loggers.pop(name, None)) is not None:
                with suppress(Exception):  # what it holds open
                    failed.close()

    def _log(self, name: str, piece: str, step: int, values: Mapping[str, float]) -> None:
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        # held until it is told: of two processes that both find the piece done, one tells of it
        with FileLock(self.folder / LOCK, timeout=WAIT_SECONDS):
            told = self._told()
            pieces = told["told"].setdefault(name, [])
            if piece in pieces:
                return
            if name not in self._loggers:
                run = None if self.several else told["run"]
                self._loggers[name] = LOGGERS[name](Watched(self.title, self.folder, run))
            self._loggers[name].log(step, values)
            pieces.append(piece)
            write_text(self.folder / TOLD, json.dumps(told, indent=1) + "\n")

    def _told(self) -> dict[str, Any]:
        """What the loggers were told of this run."""
        anew, self._anew = self._anew, False
        if (self.folder / TOLD).exists():
            try:
                told = read_json(self.folder / TOLD, OF_TOLD)
                if told["digest"] == self.digest and not anew:
                    return {"digest": self.digest, "run": str(told["run"]),
                            "told": {name: list(pieces) for name, pieces in told["told"].items()}}
            except (Unreadable, LookupError, TypeError, ValueError, AttributeError):
                pass  # damaged: as good as another run's
            for place in self.folder.iterdir():
                if place.name != LOCK:
                    shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
        return {"digest": self.digest, "run": secrets.token_hex(8), "told": {}}
