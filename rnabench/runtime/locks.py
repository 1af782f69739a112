"""Who does a piece of work: a lock per piece, so that processes and machines that share a folder never do one twice.

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
PATIENCE = 60.0  # seconds; what is waited for takes far less than one
KEPT_OUT = 7  # the exit code of OTHER_PROCESS where the lock holds
OTHER_PROCESS = f"""
import sys
from filelock import FileLock, Timeout
try:
    FileLock(sys.argv[1]).acquire(timeout=0)
except Timeout:
    sys.exit({KEPT_OUT})
"""

_probed: set[int] = set()  # file systems whose locks hold, or were told not to


@contextmanager
def claimed(place: Path, what: str) -> Iterator[None]:
    """Hold the lock of the file or folder `place` inside the block; the lock is `.locks/<name>.lock` beside it.

    The operating system frees it when the process ends, however it ends. What was to be done may be done by the time
    that the lock is held: look again inside the block. Raises Busy if another process has it.
    """
    file = _lock_of(place)
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(file.parent):
        lock = _taken(file)
    if lock is None:
        raise Busy(f"{what}: another process is at it ({str(file)!r} is locked); wait until it is done")
    try:
        yield
    finally:
        lock.release()


def is_claimed(place: Path) -> bool:
    """Whether another process is at it at this moment. Nobody's claim fails because of a look."""
    file = _lock_of(place)
    if not file.exists():
        return False
    with _one_at_a_time(file.parent):
        lock = _taken(file)
        if lock is not None:
            lock.release()
    return lock is None


def check_locks(folder: Path, progress: Progress, alone: bool = True) -> None:
    """Try out the locks of `folder`, once per process and file system; warn where they do not hold.

    Raises RnabenchError instead unless `alone`: then several processes would do the same piece of work. Tried is what
    this machine's processes see; whether other machines that mount the folder see it too, none can tell alone.
    """
    with writing(folder):
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        device = folder.stat().st_dev
        if device in _probed or _hold(folder / FOLDER / "probe.lock"):
            _probed.add(device)
            return
    text = f"locks: the file system of {str(folder)!r} has no file locks (flock) that keep other processes out"
    if not alone:
        raise RnabenchError(f"{text}; expected one that has, such as a local disk, for several processes")
    _probed.add(device)
    progress.line(f"warning: {text}; let one process at a time work there")


def _lock_of(place: Path) -> Path:
    return place.parent / FOLDER / f"{place.name}.lock"


def _taken(file: Path) -> FileLock | None:
    """The lock, held; None if another process holds it."""
    lock = FileLock(file)
    with writing(file):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
    return lock


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Locks are tried in this block only. So who finds one held has met its owner, never somebody who looks: looking
    is taking it for a moment, as no operating system tells of a lock otherwise."""
    door = FileLock(folder / "door")
    with writing(folder):
        door.acquire(timeout=PATIENCE, poll_interval=0.005)
    try:
        yield
    finally:
        door.release()


def _hold(file: Path) -> bool:
    """Whether somebody who holds the lock keeps others out: another handle in this process, and another process."""
    first, second = FileLock(file), FileLock(file)
    first.acquire(timeout=PATIENCE)  # other processes may try it out as well
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
