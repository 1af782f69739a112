"""A piece of work has one owner at a time, whoever looks on; where locks do not hold, leases take their place."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock, SoftFileLock, Timeout

from rnabench.errors import Busy, RnabenchError
from rnabench.runtime import leases, locks
from rnabench.runtime.journal import Journal
from rnabench.runtime.locks import check_locks, claimed, is_claimed
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import Stopped

ADD_ONE = """
import pathlib, sys, time
from rnabench.errors import Busy
from rnabench.runtime.locks import claimed
counter = pathlib.Path(sys.argv[1])
for _ in range(30):
    while True:
        try:
            with claimed(counter, "it"):
                number = int(counter.read_text())
                time.sleep(0.001)
                counter.write_text(str(number + 1))
            break
        except Busy:
            time.sleep(0.001)
"""
LOOK = """
import pathlib, sys
from rnabench.runtime.locks import is_claimed
print("looking", flush=True)
while True:
    is_claimed(pathlib.Path(sys.argv[1]))
"""


class Lines(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def line(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(params=["locks", "leases"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder that is locked by either kind."""
    if request.param == "leases":
        (tmp_path / locks.FOLDER).mkdir()
        (tmp_path / locks.FOLDER / leases.FILE).write_text("60")
    return tmp_path


def lock_of(thing: Path) -> Path:
    (file,) = (thing.parent / locks.FOLDER).glob(f"{thing.name}*")
    return file


@pytest.mark.parametrize("end", [None, ValueError, Stopped, KeyboardInterrupt])
def test_the_file_of_a_lock_is_never_another_one(end: type[BaseException] | None, tmp_path: Path) -> None:
    """Else a process that opened the old one and a process that opens the new one would both own the lock."""
    thing = tmp_path / "thing"
    with claimed(thing, "it"):
        waiting = os.open(lock_of(thing), os.O_RDWR)  # what a process does that waits for it
    before = lock_of(thing).stat().st_ino
    if end is None:
        with claimed(thing, "it"):
            pass
    else:
        with pytest.raises(end), claimed(thing, "it"):
            raise end("over")
    assert lock_of(thing).stat().st_ino == before
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(waiting, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(Busy), claimed(thing, "it"):
            pass
    os.close(waiting)


def test_the_locks_of_cells_outlive_their_journals(tmp_path: Path) -> None:
    """The folder of the journals goes when the record is there; a process may still wait for one of its cells."""
    journal = Journal(tmp_path / "bn.progress", "digest")
    key = ("fgsm", "paper", "x")
    numbers = []
    for _ in range(2):
        with journal.claimed(key):
            assert not journal.is_free(key)
            journal.remove()
            numbers += [file.stat().st_ino for file in (tmp_path / locks.FOLDER).glob("*fgsm*")]
        assert journal.is_free(key)
    assert len(numbers) == 2
    assert len(set(numbers)) == 1


def test_processes_that_take_turns_never_meet(folder: Path) -> None:
    counter = folder / "counter"
    counter.write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", ADD_ONE, str(counter)]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert counter.read_text() == "60"


def test_nobody_is_kept_out_by_those_who_look(folder: Path) -> None:
    thing = folder / "thing"
    with claimed(thing, "it"):
        assert is_claimed(thing)
    assert not is_claimed(thing)
    looking = subprocess.Popen([sys.executable, "-c", LOOK, str(thing)], stdout=subprocess.PIPE, text=True)
    try:
        assert looking.stdout is not None
        assert looking.stdout.readline() == "looking\n"
        for _ in range(100):
            with claimed(thing, "it"):  # raises Busy if a look is taken for an owner
                pass
    finally:
        looking.kill()
        looking.communicate()


def test_a_look_leaves_nothing(tmp_path: Path) -> None:
    assert not is_claimed(tmp_path / "thing")
    assert not list(tmp_path.iterdir())


class NoLock:
    """What a file system gives that knows no locks."""

    def __init__(self, file: Path) -> None: ...

    def acquire(self, timeout: float = -1, poll_interval: float = 0.05) -> None: ...

    def release(self) -> None: ...


class OwnLock(NoLock):
    """Holds within a process only, as where a file system forgets whose a lock is."""

    inside = threading.Lock()

    def acquire(self, timeout: float = -1, poll_interval: float = 0.05) -> None:
        if not self.inside.acquire(timeout=timeout):
            raise Timeout("lock")

    def release(self) -> None:
        self.inside.release()


@pytest.mark.parametrize("lock", [NoLock, OwnLock, SoftFileLock])  # the last is what filelock falls back to
def test_where_locks_keep_nobody_out_leases_do_which_is_said_once(lock: type, tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_tried", set())
    monkeypatch.setattr(locks, "FileLock", lock)
    progress = Lines()
    for _ in range(2):
        check_locks(tmp_path, progress, alone=False)
    assert len(progress.said) == 1
    assert str(tmp_path) in progress.said[0]
    assert locks.lease_seconds(tmp_path) == leases.SECONDS
    with claimed(tmp_path / "thing", "it"):
        assert is_claimed(tmp_path / "thing")
    assert not is_claimed(tmp_path / "thing")


@pytest.mark.parametrize("lock", [NoLock, OwnLock])
def test_where_leases_keep_nobody_out_either_it_is_told_once_and_refused_for_several(
    lock: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_tried", set())
    monkeypatch.setattr(locks, "FileLock", lock)
    monkeypatch.setattr(leases, "lease", lambda file, seconds: lock(file))
    with pytest.raises(RnabenchError, match="keep other processes out; expected one that has"):
        check_locks(tmp_path, Silent(), alone=False)
    progress = Lines()
    for _ in range(2):
        check_locks(tmp_path, progress)
    assert len(progress.said) == 1
    assert str(tmp_path) in progress.said[0]
    assert locks.lease_seconds(tmp_path) is None


def test_locks_that_hold_are_not_mentioned_and_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_tried", set())
    progress = Lines()
    check_locks(tmp_path, progress, alone=False)
    started = time.perf_counter()
    check_locks(tmp_path, progress, alone=False)
    assert time.perf_counter() - started < 0.1  # no second process
    assert not progress.said


def test_filelock_keeps_the_files_of_its_locks(tmp_path: Path) -> None:
    """Its older releases remove them; so pyproject.toml asks for a newer one."""
    file = tmp_path / "lock"
    with FileLock(file):
        pass
    assert file.exists()
