"""Whoever asks a run to stop, and however: it saves its state first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from rnabench.runtime import stopping
from rnabench.runtime.files import sha256
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import SIGNALS, Stopped, StopRequest
from rnabench.settings.base import from_options
from rnabench.settings.training import TrainingSettings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals to other processes")

ALONE = """
import sys, time
from rnabench.runtime import stopping
stopping.SAME_SECONDS = float(sys.argv[1])
with stopping.StopRequest() as stop:
    print("ready", flush=True)
    while not stop:
        time.sleep(0.01)
    print("asked", flush=True)
    sys.stdin.readline()  # a long way to the next place where it can stop
print("saved", flush=True)
"""
SEVERAL = """
import os, sys
from rnabench.runtime.progress import Silent
from rnabench.runtime.workers import Task, run_in_workers
from rnabench.runtime.stopping import Stopped, StopRequest
from tests.runtime.test_stopping import until_asked

class Shown(Silent):
    def line(self, text):
        print(text, flush=True)

if __name__ == "__main__":
    with StopRequest() as stop:
        try:
            run_in_workers([Task(name, until_asked, ()) for name in "ab"], 2, Shown(), stop)
        except Stopped:
            sys.exit(3)
"""


ORPHANS = SEVERAL.replace("until_asked", "deaf")


def deaf(progress: object, stop: StopRequest) -> None:
    """Never looks whether it is asked to stop."""
    progress.line("ready")  # type: ignore[attr-defined]
    time.sleep(600)


def until_asked(progress: object, stop: StopRequest) -> None:
    progress.line("ready")  # type: ignore[attr-defined]
    while not stop:
        time.sleep(0.01)
    progress.line("saved")  # type: ignore[attr-defined]
    raise Stopped("saved")


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, start_new_session=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, problems = process.communicate("\n", timeout=60)
    return process.returncode, said + problems


def read(process: subprocess.Popen[str], lines: Sequence[str]) -> None:
    assert process.stdout is not None
    assert [process.stdout.readline().strip() for _ in lines] == list(lines)


@pytest.mark.parametrize("number", SIGNALS)
def test_every_signal_asks_once(number: signal.Signals) -> None:
    process = start(ALONE, "60")
    read(process, ["ready"])
    process.send_signal(number)
    read(process, ["asked"])
    if number != signal.SIGINT:  # a scheduler that signals the process and its group
        process.send_signal(number)
        time.sleep(0.1)
    assert ended(process) == (0, "saved\n")


@pytest.mark.parametrize(("first", "second", "interrupts"), [
    ("SIGINT", "SIGINT", True), ("SIGTERM", "SIGTERM", True), ("SIGUSR1", "SIGUSR1", False),
    ("SIGHUP", "SIGHUP", False),
    ("SIGUSR1", "SIGTERM", False),  # the warning of a scheduler, and its time limit
])
def test_the_second_time(first: str, second: str, interrupts: bool) -> None:
    process = start(ALONE, "0")
    read(process, ["ready"])
    process.send_signal(signal.Signals[first])
    read(process, ["asked"])
    process.send_signal(signal.Signals[second])
    time.sleep(0.2)
    code, said = ended(process)
    assert ("KeyboardInterrupt" in said) is interrupts
    assert ("saved" in said) is (code == 0) is not interrupts


@pytest.mark.slow
@pytest.mark.parametrize(("numbers", "whole_group"), [(["SIGTERM"], False), (["SIGUSR1", "SIGTERM"], True),
                                                        (["SIGHUP"], True)])
def test_workers_save_their_states(numbers: list[str], whole_group: bool) -> None:
    process = start(SEVERAL)
    assert process.stdout is not None
    assert {process.stdout.readline() for _ in range(2)} == {"[a] ready\n", "[b] ready\n"}
    for number in (signal.Signals[name] for name in numbers):
        if whole_group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    code, said = ended(process)
    assert (code, sorted(said.splitlines())) == (3, ["[a] saved", "[b] saved"])


def test_workers_end_with_their_parent_however_that_ends() -> None:
    process = start(ORPHANS)
    assert process.stdout is not None
    assert {process.stdout.readline() for _ in range(2)} == {"[a] ready\n", "[b] ready\n"}
    process.kill()
    killed = time.monotonic()
    process.communicate(timeout=60)  # until the last process that could write there has ended
    assert time.monotonic() - killed < 10


@pytest.mark.parametrize("name", ["SIGHUP", "SIGTERM", "SIGUSR1"])
def test_a_signal_that_was_ignored_stays_so(name: str) -> None:
    """As SIGHUP is under `nohup`."""
    number = signal.Signals[name]
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            signal.raise_signal(number)
            assert not stop
    finally:
        signal.signal(number, before)


@pytest.mark.slow
def test_a_training_that_a_scheduler_stops_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    code = "import sys, torch; torch.set_num_threads(1); from rnabench.cli.main import main; main(sys.argv[1:])"
    keys = {"space": "bn", "width": 2, "objective": "standard", "steps": 1, "epochs": 8, "batch_size": 32,
            "n_train": 64, "n_holdout": 32}
    options = [part for key, value in keys.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    process = start(code, "train", *options, "--device", "cpu", "--out", str(tmp_path / "parts"))
    while process.poll() is None and not (tmp_path / "parts" / "log.csv").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    exit_code, said = ended(process)
    assert exit_code == 3, said
    assert said.splitlines()[-1].startswith("stopped: ")
    from rnabench.jobs.train import train  # not in the processes above, which start fast without torch

    digests = []
    for name in ("parts", "whole"):
        train(from_options(TrainingSettings, keys), tmp_path / name, Silent(), StopRequest(), "cpu")
        digests.append(sha256(tmp_path / name / "model.safetensors"))
    assert digests[0] == digests[1]


def test_signals_are_heard_inside_the_block_only() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with StopRequest():
        assert all(signal.getsignal(number) != handler for number, handler in zip(SIGNALS, before, strict=True))
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_signal_presses_after_a_while_and_a_time_limit_never(monkeypatch: pytest.MonkeyPatch) -> None:
    with StopRequest(max_minutes=1e-9) as stop:
        monkeypatch.setattr(stopping, "PATIENCE", 0.0)
        assert stop
        assert not stop.presses
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.presses
        monkeypatch.setattr(stopping, "PATIENCE", 60.0)
        assert not stop.presses


@pytest.mark.parametrize("first_to_end", [0, 1])
def test_requests_that_overlap_put_back_what_there_was_before_both(first_to_end: int) -> None:
    before = signal.getsignal(signal.SIGTERM)
    requests = [StopRequest(), StopRequest()]
    for request in (*requests, requests[0]):  # one of them twice
        request.__enter__()
    for request in (requests[0], requests[first_to_end]):
        request.__exit__(None, None, None)
    assert signal.getsignal(signal.SIGTERM) not in (before, signal.SIG_DFL)
    requests[1 - first_to_end].__exit__(None, None, None)
    assert signal.getsignal(signal.SIGTERM) == before
