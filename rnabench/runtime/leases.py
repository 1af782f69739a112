"""Leases: what locks a folder where the file system has no locks that hold, as network file systems often have none.

A lease is a file that its owner touches again and again. Who has watched one, by a clock of its own, for as long as
leases last there and saw nobody touch it takes it over: its owner's machine is gone, or cannot be reached. (An owner
that was killed on the same machine is found out at once.) filelock sees to all of that. What it cannot see to: an owner
that was only stopped (SIGSTOP, a suspended machine) and wakes up when another has its lease goes on with what it was
at. So whatever is written looks first whether this process still has the leases that it claimed.

A folder keeps in `.locks/leases` for how many seconds, so that all who work there agree, also those that would find
that the file locks of their machine hold.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rnabench.errors import Busy, InvalidValue

if TYPE_CHECKING:  # loaded where something is locked, not where something is only written
    from filelock import SoftFileLease

FILE = "leases"  # in the folder of locks
SECONDS = 60.0  # that a lease lasts; it is touched every third of that
LEAST_SECONDS = 0.1
VARIABLE = "RNABENCH_LOCKS"
SECOND_LOOK = 0.2  # seconds until it: who examines a lease moves it aside for a moment

_held: dict[int, tuple[SoftFileLease, str]] = {}


def seconds_in(locks: Path) -> float | None:
    """How long leases last in a folder of locks; None where there are none. Raises InvalidValue if that is damaged."""
    try:
        text = (locks / FILE).read_text(errors="replace")
    except FileNotFoundError:
        return None
    return _seconds(str(locks / FILE), text.strip())


def asked_for() -> float | None:
    """How long leases are to last, if the environment asks for them. Raises InvalidValue."""
    if not (said := os.environ.get(VARIABLE, "")):
        return None
    kind, _, seconds = said.partition(":")
    if kind != "leases":
        raise InvalidValue(VARIABLE, said, "leases, leases:SECONDS, or nothing", ["leases"])
    return _seconds(VARIABLE, seconds) if seconds else SECONDS


def lease(file: Path, seconds: float) -> SoftFileLease:
    from filelock import SoftFileLease

    return SoftFileLease(file, lease_duration=seconds, thread_local=False)  # whatever thread writes, it looks after it


@contextmanager
def looked_after(held: SoftFileLease, what: str) -> Iterator[None]:
    """Inside, `check_held` finds out if another process has taken this lease over."""
    _held[id(held)] = held, what
    try:
        yield
    finally:
        del _held[id(held)]


def check_held() -> None:
    """To be called before anything is written. Raises Busy if another process has taken over what this one claimed.

    Who is stopped between this look and the writing itself is not found out. What is written then is what the other one
    writes as well, and a journal tells lines that came twice.
    """
    for held, what in list(_held.values()):
        if not _is_own(held):
            time.sleep(SECOND_LOOK)
            if not _is_own(held):
                raise Busy(f"{what}: another process has taken it over, as this one was stopped for longer than its "
                           f"lease of {held.lease_duration:g} s")


def is_old(file: Path, seconds: float) -> bool:
    """Whether a lease seems to have run out, which the clocks of two machines cannot tell for sure."""
    try:
        return time.time() - file.stat().st_mtime > seconds
    except OSError:
        return False


def _is_own(held: SoftFileLease) -> bool:
    owner = held.owner
    return owner is not None and owner.token == held.token


def _seconds(where: str, said: str) -> float:
    try:
        seconds = float(said)
    except ValueError:
        seconds = math.nan
    if not LEAST_SECONDS <= seconds < math.inf:
        raise InvalidValue(where, said, f"the seconds that a lease lasts, at least {LEAST_SECONDS:g}")
    return seconds
