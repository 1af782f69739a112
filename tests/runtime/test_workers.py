"""Work in several processes: the same results as in one, and every end of it is clean."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

from rnabench.errors import InvalidValue, RnabenchError
from rnabench.runtime import workers as module
from rnabench.runtime.progress import Progress, Silent
from rnabench.runtime.stopping import Stopped, StopRequest
from rnabench.runtime.workers import Task, run_in_workers

pytestmark = pytest.mark.slow


def double(number: int, progress: Progress, stop: StopRequest) -> tuple[int, int]:
    import torch

    progress.line(f"doubling {number}")
    return 2 * number, torch.get_num_threads()


def gpu_seen(progress: Progress, stop: StopRequest) -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def fail(number: int, progress: Progress, stop: StopRequest) -> None:
    raise InvalidValue("number", number, "another one")


def until_asked(progress: Progress, stop: StopRequest) -> None:
    progress.line("at work")
    for _ in range(600):
        if stop:
            raise stop.stopped("in the middle")
        time.sleep(0.05)


def ask_itself(progress: Progress, stop: StopRequest) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    until_asked(progress, stop)


def never_stop(progress: Progress, stop: StopRequest) -> None:
    progress.line("here")
    time.sleep(600)


class SlowToArrive:
    """What takes a worker minutes to receive, as starting takes it on a busy machine."""

    def __reduce__(self) -> tuple[object, ...]:
        return time.sleep, (600,)


def begin(slow: SlowToArrive, progress: Progress, stop: StopRequest) -> None:
    progress.line("begun")


def die(progress: Progress, stop: StopRequest) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Lines(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def test_each_job_sees_a_gpu_of_its_own() -> None:
    tasks = [Task(f"job {number}", gpu_seen, ()) for number in range(3)]
    seen = run_in_workers(tasks, 3, Silent(), StopRequest(), ["5", "7"])
    assert list(seen.values()) == ["5", "7", "5"]


def test_results_by_name_in_order_whatever_the_number_of_jobs() -> None:
    tasks = [Task(f"task {number}", double, (number,)) for number in (3, 1, 2)]
    alone, together = Lines(), Lines()
    one = run_in_workers(tasks, 1, alone, StopRequest())
    several = run_in_workers(tasks, 2, together, StopRequest())
    assert list(one) == list(several) == ["task 3", "task 1", "task 2"]
    assert [value for value, _ in one.values()] == [value for value, _ in several.values()] == [6, 2, 4]
    assert sorted(together.lines) == sorted(f"[task {n}] doubling {n}" for n in (1, 2, 3))
    most = one["task 1"][1]
    assert all(1 <= threads <= max(1, most // 2) for _, threads in several.values())


def test_an_error_stops_the_others_and_names_its_task() -> None:
    tasks = [Task("waits", until_asked, ()), Task("fails", fail, (7,)), Task("never", until_asked, ())]
    with pytest.raises(RnabenchError, match="fails: number: 7 is not valid"):
        run_in_workers(tasks, 2, Silent(), StopRequest())


def test_a_stop_reaches_every_process() -> None:
    lines = Lines()

    class OnceBothAreAtWork(StopRequest):
        def __bool__(self) -> bool:
            return len(lines.lines) == 2

    with pytest.raises(Stopped):
        run_in_workers([Task(name, until_asked, ()) for name in "ab"], 2, lines, OnceBothAreAtWork())
    assert sorted(lines.lines) == ["[a] at work", "[b] at work"]


def test_a_process_that_is_asked_by_a_signal_stops_all() -> None:
    with pytest.raises(Stopped, match="in the middle"):
        run_in_workers([Task("a", until_asked, ()), Task("b", ask_itself, ())], 2, Silent(), StopRequest())


def test_none_goes_on_when_all_is_interrupted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one that does not look whether it is asked."""
    class Interrupted(Silent):
        def line(self, text: str) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "GRACE_SECONDS", 0.2)
    with pytest.raises(KeyboardInterrupt):
        run_in_workers([Task("a", never_stop, ()), Task("b", never_stop, ())], 2, Interrupted(), StopRequest())
    for process in multiprocessing.active_children():
        process.join(10)
    assert not multiprocessing.active_children()


def test_a_killed_process_is_an_error_that_says_so() -> None:
    with pytest.raises(RnabenchError, match="b: its process ended with code -9"):
        run_in_workers([Task("a", until_asked, ()), Task("b", die, ())], 2, Silent(), StopRequest())


def test_a_worker_that_is_still_being_started_is_not_waited_for() -> None:
    stop, lines, started = StopRequest(max_minutes=1 / 60), Lines(), time.monotonic()
    with pytest.raises(Stopped):
        run_in_workers([Task(f"task {number}", begin, (SlowToArrive(),)) for number in (1, 2)], 2, lines, stop)
    assert time.monotonic() - started < 10
    assert not lines.lines
    assert not multiprocessing.active_children()
