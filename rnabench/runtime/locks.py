"""Claims on pieces of work: a lock per piece, so that processes and machines that share a folder never do one twice.

The locks of what a folder holds are the empty files of its hidden folder `.locks`. They stay there: had a process
removed one while another waited for it, the two could own a file of the same name each. Where the file system's locks
do not hold, leases (`runtime.leases`) take their place.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from multiprocessing import parent_process
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLease, SoftFileLock, Timeout

from rnabench.errors import Busy, RnabenchError
from rnabench.runtime import leases
from rnabench.runtime.files import write_text, writing
from rnabench.runtime.progress import Progress

FOLDER = ".locks"
WAIT_SECONDS = 60.0  # for locks that are held for far less than a second
MOUNTS = Path("/proc/self/mountinfo")  # on Linux
OWN_TO_A_MACHINE = {"localflock", "nolock", "local_lock=all", "local_lock=flock"}  # options of Lustre's and NFS' mounts
KEPT_OUT = 7  # the exit code of OTHER_PROCESS where the lock holds
OTHER_PROCESS = f"""
import sys, filelock
file, *seconds = sys.argv[1:]
lock = filelock.SoftFileLease(file, lease_duration=float(seconds[0])) if seconds else filelock.FileLock(file)
try:
    lock.acquire(timeout=0)
except filelock.Timeout:
    sys.exit({KEPT_OUT})
"""

_tried: set[int] = set()  # file systems whose locks were found to work, or warned of
_told: set[Path] = set()  # folders of which it was said that leases lock them
_watched: dict[Path, SoftFileLease] = {}  # of others: to see a lease run out, one and the same object has to watch it
_comes_back: ContextVar[bool] = ContextVar("comes_back", default=False)


@contextmanager
def claimed(place: Path, what: str) -> Iterator[None]:
    """Hold the lock of the file or folder `place` inside the block; the lock is `.locks/<name>.lock` beside it.

    The operating system frees it when the process ends, however it ends; a lease runs out then. Look again inside the
    block whether there is still something to do: another process may have done it meanwhile. Raises Busy if another
    process has the lock.
    """
    file = _lock_of(place)
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    with _attempts_in_turn(file.parent):
        lock = _acquired(file)
    if lock is None and (lock := _after_its_lease(file)) is None:
        raise Busy(f"{what}: another process works on it ({str(file)!r} is locked); wait until it is done")
    try:
        with leases.looked_after(lock, what) if isinstance(lock, SoftFileLease) else nullcontext():
            yield
    finally:
        lock.release()


def is_claimed(place: Path, wait: bool = False) -> bool:
    """Whether another process has claimed `place` at this moment. To ask makes nobody's claim fail. A lease that seems
    to be a dead machine's is waited for if `wait`."""
    file = _lock_of(place)
    if not file.exists() and not _lease_of(file).exists():
        return False
    with _attempts_in_turn(file.parent):
        lock = _acquired(file)
        if lock is not None:
            lock.release()
    if lock is None and wait and (lock := _after_its_lease(file)) is not None:
        lock.release()
    return lock is None


@contextmanager
def coming_back() -> Iterator[None]:
    """Inside, no lease is waited for to run out: who is told that a piece is taken does another one, and asks again."""
    token = _comes_back.set(True)
    try:
        yield
    finally:
        _comes_back.reset(token)


def check_locks(folder: Path, progress: Progress, alone: bool = True) -> None:
    """Try out the locks of `folder`, once per process and file system; where they keep nobody out, or the environment
    says so (RNABENCH_LOCKS=leases), use leases there from now on, and say it.

    Where leases keep nobody out either: warn, or raise RnabenchError unless `alone` (several processes would do the
    same piece of work). Only processes of this machine are tried; whether locks also reach others that mount the folder
    cannot be seen from one, unless the mount's options say that they do not. Raises InvalidValue for another
    RNABENCH_LOCKS.
    """
    locks = folder / FOLDER
    with writing(folder):
        locks.mkdir(parents=True, exist_ok=True)
        device = folder.stat().st_dev
    wanted, seconds = leases.asked_for(), leases.seconds_in(locks)
    if seconds is None:
        if wanted is None and (device in _tried or (not _own_to_this_machine(device) and
                                                    _keeps_others_out(locks / "probe.lock"))):
            _tried.add(device)
            return
        seconds = wanted or leases.SECONDS
        if not _keeps_others_out(locks / "probe.lease", seconds):
            _warn(f"locks: the file system of {str(folder)!r} has neither file locks (flock) nor new files that keep "
                  "other processes out", device, progress, alone)
            return
        write_text(locks / leases.FILE, f"{seconds:g}\n")
    if locks not in _told and parent_process() is None:  # a worker's parent has said it
        _told.add(locks)
        progress.line(f"locks: leases of {seconds:g} s in {str(folder)!r} (no file locks that hold, or none wanted); "
                      "what a machine that died had claimed is free again after that")


def lease_seconds(folder: Path) -> float | None:
    """How long the leases last that lock `folder`; None where file locks do."""
    return leases.seconds_in(folder / FOLDER)


def _warn(text: str, device: int, progress: Progress, alone: bool) -> None:
    if not alone:
        raise RnabenchError(f"{text}; expected one that has, such as a local disk, for several processes")
    _tried.add(device)
    progress.line(f"warning: {text}; let one process at a time work there")


def _lock_of(place: Path) -> Path:
    return place.parent / FOLDER / f"{place.name}.lock"


def _lease_of(file: Path) -> Path:
    return file.with_suffix(".lease")  # the empty file of a lock would pass for a damaged lease


def _lock(file: Path) -> BaseFileLock:
    """The lock of that name, not held: a lease where the folder of locks says so."""
    seconds = leases.seconds_in(file.parent)
    if seconds is None:
        return FileLock(file)
    watching = _watched.pop(file, None)
    return leases.lease(_lease_of(file), seconds) if watching is None else watching


def _acquired(file: Path) -> BaseFileLock | None:
    """The lock, held; None if another process holds it."""
    lock = _lock(file)
    with writing(file):
        for _ in range(2 if isinstance(lock, SoftFileLease) else 1):  # the first may only sweep a dead owner's away
            with suppress(Timeout):
                lock.acquire(timeout=0)
                return lock
    if isinstance(lock, SoftFileLease):
        _watched[file] = lock
    return None


def _after_its_lease(file: Path) -> BaseFileLock | None:
    """The lock that another holds, held, if that is a lease that seems to have run out, and does; it is waited for."""
    if _comes_back.get() or (lease := _watched.pop(file, None)) is None:
        return None
    if leases.is_old(Path(lease.lock_file), lease.lease_duration):
        with writing(file), suppress(Timeout):
            lease.acquire(timeout=1.1 * lease.lease_duration, poll_interval=lease.lease_duration / 100)
            return lease
    _watched[file] = lease
    return None


@contextmanager
def _attempts_in_turn(folder: Path) -> Iterator[None]:
    """All attempts to take a lock are made in this block, one after the other. To see whether a lock is held, one has
    to take it for a moment: somebody else's attempt at that moment would fail as if the piece were claimed."""
    door = _lock(folder / "door")
    with writing(folder):
        door.acquire(timeout=WAIT_SECONDS + (door.lease_duration if isinstance(door, SoftFileLease) else 0),
                     poll_interval=0.005)
    try:
        yield
    finally:
        door.release()


def _own_to_this_machine(device: int) -> bool:
    """Whether a file system is mounted so that its locks do not reach other machines."""
    with suppress(OSError):
        for line in MOUNTS.read_text(errors="replace").splitlines():
            fields = line.split()
            if fields[2] == f"{os.major(device)}:{os.minor(device)}":
                return not OWN_TO_A_MACHINE.isdisjoint(f"{fields[5]},{fields[-1]}".split(","))
    return False


def _keeps_others_out(file: Path, seconds: float | None = None) -> bool:
    """Whether a held lock, or a lease of so many seconds, keeps out another handle in this process, and another
    process."""
    first, second = (FileLock(file) if seconds is None else leases.lease(file, seconds) for _ in range(2))
    with writing(file):
        first.acquire(timeout=WAIT_SECONDS + (seconds or 0))  # other processes may try it out as well
    try:
        # what filelock falls back to without flock; it outlives a killed process
        if isinstance(first, SoftFileLock) and seconds is None:
            return False
        try:
            second.acquire(timeout=0)
        except Timeout:
            command = [sys.executable, "-c", OTHER_PROCESS, str(file), *([] if seconds is None else [str(seconds)])]
            return subprocess.run(command, capture_output=True).returncode == KEPT_OUT
        second.release()
        return False
    finally:
        first.release()
