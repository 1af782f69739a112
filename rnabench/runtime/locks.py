"""Claims on pieces of work: a lock per piece, so that processes and machines that share a folder never do one twice.

The locks of what a folder holds are the empty files of its hidden folder `.locks`. They stay there: had a process
removed one while another waited for it, the two could own a file of the same name each.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from rnabench.errors import Busy, RnabenchError
from rnabench.runtime.files import writing
from rnabench.runtime.progress import Progress

FOLDER = ".locks"
WAIT_SECONDS = 60.0  # for locks that are held for far less than a second
KEPT_OUT = 7  # the exit code of OTHER_PROCESS where the lock holds
OTHER_PROCESS = f"""
import sys
from filelock import FileLock, Timeout
try:
    FileLock(sys.argv[1]).acquire(timeout=0)
except Timeout:
    sys.exit({KEPT_OUT})
"""

_tried: set[int] = set()  # file systems whose locks were found to work, or warned of


@contextmanager
def claimed(place: Path, what: str) -> Iterator[None]:
    """Hold the lock of the file or folder `place` inside the block; the lock is `.locks/<name>.lock` beside it.

    The operating system frees it when the process ends, however it ends. Look again inside the block whether there is
    still something to do: another process may have done it meanwhile. Raises Busy if another process has the lock.
    """
    file = _lock_of(place)
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    with _attempts_in_turn(file.parent):
        lock = _acquired(file)
    if lock is None:
        raise Busy(f"{what}: another process works on it ({str(file)!r} is locked); wait until it is done")
    try:
        yield
    finally:
        lock.release()


def is_claimed(place: Path) -> bool:
    """Whether another process has claimed `place` at this moment. To ask makes nobody's claim fail."""
    file = _lock_of(place)
    if not file.exists():
        return False
    with _attempts_in_turn(file.parent):
        lock = _acquired(file)
        if lock is not None:
            lock.release()
    return lock is None


def check_locks(folder: Path, progress: Progress, alone: bool = True) -> None:
    """Try out the locks of `folder`, once per process and file system; warn where they keep nobody out.

    Raises RnabenchError instead unless `alone`: several processes would do the same piece of work. Only processes of
    this machine are tried; whether locks also reach other machines that mount the folder cannot be seen from one.
    """
    with writing(folder):
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        device = folder.stat().st_dev
        if device in _tried or _keeps_others_out(folder / FOLDER / "probe.lock"):
            _tried.add(device)
            return
    text = f"locks: the file system of {str(folder)!r} has no file locks (flock) that keep other processes out"
    if not alone:
        raise RnabenchError(f"{text}; expected one that has, such as a local disk, for several processes")
    _tried.add(device)
    progress.line(f"warning: {text}; let one process at a time work there")


def _lock_of(place: Path) -> Path:
    return place.parent / FOLDER / f"{place.name}.lock"


def _acquired(file: Path) -> FileLock | None:
    """The lock, held; None if another process holds it."""
    lock = FileLock(file)
    with writing(file):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
    return lock


@contextmanager
def _attempts_in_turn(folder: Path) -> Iterator[None]:
    """All attempts to take a lock are made in this block, one after the other. To see whether a lock is held, one has
    to take it for a moment: somebody else's attempt at that moment would fail as if the piece were claimed."""
    door = FileLock(folder / "door")
    with writing(folder):
        door.acquire(timeout=WAIT_SECONDS, poll_interval=0.005)
    try:
        yield
    finally:
        door.release()


def _keeps_others_out(file: Path) -> bool:
    """Whether a held lock keeps out another handle in this process, and another process."""
    first, second = FileLock(file), FileLock(file)
    first.acquire(timeout=WAIT_SECONDS)  # other processes may try it out as well
    try:
        if isinstance(first, SoftFileLock):  # what filelock falls back to without flock; it outlives a killed process
            return False
        try:
            second.acquire(timeout=0)
        except Timeout:
            return subprocess.run([sys.executable, "-c", OTHER_PROCESS, str(file)], capture_output=True
                                  ).returncode == KEPT_OUT
        second.release()
        return False
    finally:
        first.release()
