"""Writing files so that a reader never sees half of one, and a killed process leaves nothing for ever.

A file is first written under a temporary name that tells whose it is, `.rnabench-<host>-<process>-<random>.tmp`; what a
process that is no more has left of them goes when anybody next writes to the folder. Files get the permissions that the
umask leaves, so that others can go on with a shared folder.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from io import BytesIO
from pathlib import Path

from rnabench.errors import InvalidValue, RnabenchError
from rnabench.runtime.leases import check_held

HOST = re.sub(r"\W", "-", platform.node())[:64]
TEMPORARY = re.compile(r"\.rnabench-(\w[\w-]*)-([0-9]{1,7})-[0-9a-f]{8}\.tmp")
LONGEST_SECONDS = 24 * 3600.0  # that a file may be under way on another machine, whose processes cannot be asked about

_under_way: set[str] = set()  # the temporary names of this process: an earlier one may have had its number


@contextmanager
def atomic(target: Path) -> Iterator[Path]:
    """A temporary path beside `target`; it takes target's place when the block ends well, and is removed if not.

    What is written there should be complete bytes: libraries that are given a path may put another file in its place,
    or abort the process where the disk is full. See `write_bytes`.
    """
    with _temporary(target.parent) as temporary:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        check_held()
        temporary.replace(target)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target`, which must be absent or empty; it takes target's place when the block ends
    well, and is removed if not. Raises InvalidValue."""
    if target.exists() and not (target.is_dir() and next(target.iterdir(), None) is None):
        raise InvalidValue("--out", str(target), "a new or an empty folder")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with _temporary(target.parent) as temporary:
        with writing(target):
            temporary.mkdir()
        yield temporary
        with writing(target):
            temporary.replace(target)


def write_text(target: Path, text: str) -> None:
    """Write a text file atomically, with its folders. Raises RnabenchError where it cannot be written."""
    write_bytes(target, text.encode(errors="backslashreplace"))  # a folder that it names may be no UTF-8


def write_bytes(target: Path, content: bytes | BytesIO) -> None:
    """Write a file atomically, with its folders. Raises RnabenchError where it cannot be written."""
    # a view that an error's traceback kept, as Path.write_bytes has one of its own, would crash the interpreter when it
    # is collected (CPython 3.12.1)
    viewed = nullcontext(content) if isinstance(content, bytes) else content.getbuffer()
    with writing(target), viewed as view:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic(target) as temporary, temporary.open("wb") as file:
            file.write(view)


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turns a refusal of the operating system into one clear error naming the file."""
    try:
        yield
    except OSError as error:
        reason = "no space left on the device" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise RnabenchError(f"out: cannot write {str(target)!r}: {reason}; expected a writable folder") from error


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """A name that is not there yet; whatever is made of that name is removed in the end."""
    _sweep(folder)
    path = folder / f".rnabench-{HOST}-{os.getpid()}-{secrets.token_hex(4)}.tmp"
    _under_way.add(path.name)
    try:
        yield path
    finally:
        _remove(path)
        _under_way.discard(path.name)


def _sweep(folder: Path) -> None:
    """Remove what processes that are no more have left in the folder."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            if (named := TEMPORARY.fullmatch(entry.name)) and not _is_under_way(entry, named[1], int(named[2])):
                _remove(Path(entry))


def _is_under_way(entry: os.DirEntry[str], host: str, process: int) -> bool:
    if time.time() - entry.stat(follow_symlinks=False).st_mtime > LONGEST_SECONDS:
        return False
    if host != HOST or os.name != "posix":  # on Windows, to ask by os.kill would be to end it
        return True
    if process == os.getpid():
        return entry.name in _under_way
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
