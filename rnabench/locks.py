"""Who does a piece of work: a lock per piece, so that processes and machines that share a folder never do one twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from rnabench.errors import Busy
from rnabench.files import writing
from rnabench.stopping import Stopped


def is_claimed(place: Path) -> bool:
    """Whether another process is at it at this moment; nothing is left behind."""
    if not _lock_of(place).exists():
        return False
    lock = FileLock(_lock_of(place))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _lock_of(place: Path) -> Path:
    return place.with_name(f".{place.name}.lock")


@contextmanager
def claimed(place: Path, what: str) -> Iterator[None]:
    """Hold the lock of the file or folder `place` inside the block; the lock is `.<name>.lock` beside it.

    The operating system frees it when the process ends, however it ends. What was to be done may be done by the time
    that the lock is held: look again inside the block. Raises Busy if another process has it.
    """
    new = not place.parent.exists()
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    file = _lock_of(place)
    lock = FileLock(file)
    with writing(file):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise Busy(f"{what}: another process is at it ({str(file)!r} is locked); wait until it is done") from None
    if not file.exists():  # its holder removed it while we opened it: what we hold locks nothing
        lock.release()
        raise Busy(f"{what}: another process has just been at it; try again")
    try:
        yield
    except (Stopped, KeyboardInterrupt):
        raise  # the lock stays where it is: of work that goes on, two processes might lock two files
    except BaseException:
        file.unlink(missing_ok=True)
        with suppress(OSError):  # unless something was written
            if new:
                place.parent.rmdir()
        raise
    else:
        file.unlink(missing_ok=True)
    finally:
        lock.release()
