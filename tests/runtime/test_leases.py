"""A lease is its owner's as long as that lives, and another's when the owner's machine is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rnabench.errors import Busy, InvalidValue
from rnabench.runtime import leases, locks
from rnabench.runtime.files import write_text
from rnabench.runtime.journal import Journal
from rnabench.runtime.locks import check_locks, claimed, coming_back, is_claimed
from rnabench.runtime.progress import Silent
from tests.cli.test_cli import run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals to other processes")

SECONDS = 1.5
KEY = ("fgsm", "paper", "x")
OWNER = """
import pathlib, socket, sys
folder, host = pathlib.Path(sys.argv[1]), sys.argv[2]
if host:
    socket.gethostname = lambda: host
from rnabench.errors import Busy
from rnabench.runtime.files import write_text
from rnabench.runtime.journal import Journal
journal = Journal(folder / "progress", "digest")
with journal.claimed(("fgsm", "paper", "x")):
    journal.append(("fgsm", "paper", "x"), {"by": "begun"})
    print("mine", flush=True)
    sys.stdin.readline()
    try:
        {write}
        print("written", flush=True)
    except Busy as busy:
        print(busy, flush=True)
"""
APPEND = 'journal.append(("fgsm", "paper", "x"), {"by": "owner"})'
WRITE = 'write_text(folder / "result", "owner")'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / locks.FOLDER).mkdir()
    (tmp_path / locks.FOLDER / leases.FILE).write_text(f"{SECONDS}")
    return tmp_path


@contextlib.contextmanager
def owner(folder: Path, host: str = "", write: str = APPEND) -> Iterator[subprocess.Popen[str]]:
    """A process that has claimed the journal's piece; it writes when it is sent a line."""
    command = [sys.executable, "-c", OWNER.replace("{write}", write), str(folder), host]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "mine\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def seconds_until_claimed(folder: Path, longest: float) -> float:
    """How long one comes back for the piece until one gets it."""
    started = time.monotonic()
    while time.monotonic() - started < longest:
        with coming_back(), contextlib.suppress(Busy), Journal(folder / "progress", "digest").claimed(KEY):
            return time.monotonic() - started
        time.sleep(0.05)
    raise Busy("still")


def test_an_owner_killed_on_this_machine_is_found_out_at_once(folder: Path) -> None:
    with owner(folder) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert seconds_until_claimed(folder, SECONDS) < SECONDS / 2


def test_an_owner_killed_on_another_machine_is_replaced_when_its_lease_has_run_out(folder: Path) -> None:
    with owner(folder, "elsewhere") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert SECONDS <= seconds_until_claimed(folder, 10 * SECONDS) < 4 * SECONDS


def test_an_owner_that_is_slow_is_never_replaced(folder: Path) -> None:
    with owner(folder, "elsewhere") as process:
        with pytest.raises(Busy):
            seconds_until_claimed(folder, 3 * SECONDS)
        assert process.communicate("\n")[0] == "written\n"
    assert [batch["by"] for batch in Journal(folder / "progress", "digest").batches(KEY)] == ["begun", "owner"]


@pytest.mark.parametrize("write", [APPEND, WRITE])
def test_an_owner_that_was_stopped_notices_before_it_writes(write: str, folder: Path) -> None:
    with owner(folder, "elsewhere", write) as process:
        process.send_signal(signal.SIGSTOP)
        seconds_until_claimed(folder, 10 * SECONDS)
        journal = Journal(folder / "progress", "digest")
        with journal.claimed(KEY):
            journal.append(KEY, {"by": "successor"})
            write_text(folder / "result", "successor")
            process.send_signal(signal.SIGCONT)
            said = process.communicate("\n")[0]
            assert "another process has taken it over" in said, said
            journal.append(KEY, {"by": "successor"})  # the lease is still its own
    kept = Journal(folder / "progress", "digest").batches(KEY)
    assert [batch["by"] for batch in kept] == ["begun", "successor", "successor"]
    assert (folder / "result").read_text() == "successor"


def test_who_does_not_come_back_waits_for_a_dead_machine_s_lease(folder: Path) -> None:
    with owner(folder, "elsewhere") as process:
        assert is_claimed(folder / "progress--fgsm--paper--x", wait=True)  # it looks alive: at once
        process.send_signal(signal.SIGKILL)
        process.wait()
    time.sleep(1.1 * SECONDS)
    locks._watched.clear()  # a new process has not watched it
    with coming_back(), pytest.raises(Busy), claimed(folder / "progress--fgsm--paper--x", "it"):
        pass
    locks._watched.clear()
    with claimed(folder / "progress--fgsm--paper--x", "it"):
        pass


def test_a_folder_remembers_its_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(leases.VARIABLE, "leases:7")
    check_locks(tmp_path, Silent())
    monkeypatch.delenv(leases.VARIABLE)
    check_locks(tmp_path, Silent())
    assert locks.lease_seconds(tmp_path) == 7
    with claimed(tmp_path / "thing", "it"):
        assert {file.name for file in (tmp_path / locks.FOLDER).glob("thing*")} == {"thing.lease"}
    assert not list((tmp_path / locks.FOLDER).glob("thing*"))


@pytest.mark.parametrize(("options", "expected"), [
    ("rw,vers=4.2,local_lock=none", None), ("rw,vers=3,nolock,local_lock=all", leases.SECONDS),
    ("rw,localflock", leases.SECONDS)])
def test_locks_that_stay_on_their_machine_do_not_count(options: str, expected: float | None, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    number = f"{os.major(device)}:{os.minor(device)}"
    mounts.write_text("21 1 0:19 / / rw - ext4 /dev/sda rw\n"
                      f"36 35 {number} / /home rw,noatime shared:1 - nfs server:/ {options}\n")
    monkeypatch.setattr(locks, "MOUNTS", mounts)
    monkeypatch.setattr(locks, "_tried", set())
    check_locks(tmp_path, Silent())
    assert locks.lease_seconds(tmp_path) == expected


def test_doctor_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("doctor", "--no-compile", "--runs", str(folder), "--out", str(folder), "--data", str(folder))
    assert f"leases of {SECONDS:g} s" in capsys.readouterr().out


@pytest.mark.parametrize("said", ["lease", "leases:0", "leases:soon", "leases:inf", "leases:nan", "flock"])
def test_what_the_environment_cannot_ask_for(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(leases.VARIABLE, said)
    with pytest.raises(InvalidValue, match=leases.VARIABLE):
        check_locks(tmp_path, Silent())


def test_a_damaged_folder_of_locks_is_one_line(folder: Path) -> None:
    (folder / locks.FOLDER / leases.FILE).write_bytes(b"\xff")
    with pytest.raises(InvalidValue, match="leases"), claimed(folder / "thing", "it"):
        pass
