"""Writing files so that a reader, or a killed process, never leaves or sees half of one."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from rnabench.errors import InvalidValue, RnabenchError


@contextmanager
def atomic(target: Path) -> Iterator[Path]:
    """A temporary path beside `target`; it takes target's place when the block ends well, and is removed if not."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target`, which must be absent or empty; it takes target's place when the block ends
    well, and is removed if not. Raises InvalidValue."""
    if target.exists() and not (target.is_dir() and next(target.iterdir(), None) is None):
        raise InvalidValue("--out", str(target), "a new or an empty folder")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        yield temporary
        with writing(target):
            temporary.chmod(0o755)
            temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(target: Path, text: str) -> None:
    """Write a text file atomically, with its folders. Raises RnabenchError where it cannot be written."""
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic(target) as temporary:
            temporary.write_text(text, encoding="utf-8")


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turns a refusal of the operating system, or of a library that writes, into one clear error naming the file."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = " ".join((getattr(error, "strerror", None) or str(error)).split())
        if getattr(error, "errno", None) == errno.ENOSPC or _full(target):
            reason = "no space left on the device"
        raise RnabenchError(f"out: cannot write {str(target)!r}: {reason}; expected a writable folder") from error


def _full(target: Path) -> bool:
    """Whether the disk is full: libraries that write a file of their own do not always say so."""
    try:
        return shutil.disk_usage(target.parent).free < 1 << 20
    except OSError:
        return False


def remove_leftovers(folder: Path, names: Iterable[str]) -> None:
    """Remove what `atomic` leaves of these files when the process is killed."""
    for name in names:
        for file in folder.glob(f".{name}.*"):
            file.unlink(missing_ok=True)


def sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
