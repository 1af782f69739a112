"""Independent tasks in processes of their own: small networks keep neither two cores nor a GPU busy alone.

Processes and pipes rather than a pool of concurrent.futures or joblib. When a worker is killed, those do not say which
task it had; they have no public way (before Python 3.14) to end workers that do not answer; and progress, requests to
stop and shares of the CPU threads would have to be carried beside them, which is most of what is here.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from typing import Any

from rnabench.errors import RnabenchError
from rnabench.runtime.progress import Lines, Progress
from rnabench.runtime.stopping import SIGNALS, Stopped, StopRequest, signals_held_back

POLL_SECONDS = 0.2
GRACE_SECONDS = 10.0  # that a worker gets to save its state when all is interrupted at once
ORPHAN_SECONDS = 1.0  # that it gets when the parent is gone


@dataclass(frozen=True)
class Task:
    """`function(*arguments, progress, stop)`; all of it, and what it returns, can be pickled."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def run_in_workers(tasks: Sequence[Task], jobs: int, progress: Progress, stop: StopRequest, gpus: Sequence[str] = ()
                   ) -> dict[str, Any]:
    """What each task returns, by its name; up to `jobs` at a time, each with its share of the CPU threads, and each
    with one of `gpus` as the only one that it sees (by turns where there are more jobs; see `visible_gpus`).

    One job runs them here, in order. If one fails or `stop` asks, the others are stopped where they can go on later,
    and those whose process is not up yet at once; then the error, or Stopped, is raised. The number of threads is part
    of what a network trained on a CPU rounds to. A script that calls this needs the guard
    `if __name__ == "__main__":`, as every worker imports it anew.
    """
    if jobs == 1 or len(tasks) < 2:
        return {task.name: task.function(*task.arguments, progress, stop) for task in tasks}
    return _Workers(tasks, min(jobs, len(tasks)), progress, stop, gpus).run()


class _Workers:
    def __init__(self, tasks: Sequence[Task], jobs: int, progress: Progress, stop: StopRequest, gpus: Sequence[str]
                 ) -> None:
        import torch

        self.gpus = {task.name: gpus[number % len(gpus)] for number, task in enumerate(tasks)} if gpus else {}
        self.tasks, self.jobs, self.progress, self.stop = tasks, jobs, progress, stop
        self.threads = max(1, torch.get_num_threads() // jobs)
        self.context = multiprocessing.get_context("spawn")
        with signals_held_back():  # multiprocessing starts a helper of its own here, which SIGUSR1 would kill
            self.stop_all = self.context.Event()
        self.running: dict[Connection, tuple[str, BaseProcess]] = {}
        self.begun: set[Connection] = set()
        self.results: dict[str, Any] = {}
        self.problem: BaseException | None = None

    def run(self) -> dict[str, Any]:
        waiting = list(self.tasks)
        try:
            while self.running or (waiting and self.problem is None):
                while waiting and len(self.running) < self.jobs and self.problem is None:
                    self._start(waiting.pop(0))
                for connection in wait(list(self.running), POLL_SECONDS):
                    assert isinstance(connection, Connection)
                    self._receive(connection)
                if self.stop and self.problem is None:
                    self.problem = self.stop.stopped(", ".join(name for name, _ in self.running.values()))
                if self.problem is not None:
                    self.stop_all.set()
                    self._end_unbegun()
        finally:  # a second Ctrl-C comes here while tasks run
            _end([process for _, process in self.running.values()])
        if self.problem is not None:
            raise self.problem
        return {task.name: self.results[task.name] for task in self.tasks}

    def _start(self, task: Task) -> None:
        receiver, sender = self.context.Pipe(duplex=False)
        process = self.context.Process(target=_work, args=(task, self.threads, self.gpus.get(task.name), sender,
                                                           self.stop_all))
        with signals_held_back():
            process.start()
        sender.close()
        self.running[receiver] = task.name, process

    def _end_unbegun(self) -> None:
        """End the workers that are still being started, which on a busy machine takes many seconds: they have nothing
        to save."""
        for connection, (_, process) in list(self.running.items()):
            if connection not in self.begun and not connection.poll():
                process.kill()
                process.join()
                del self.running[connection]

    def _receive(self, connection: Connection) -> None:
        """A worker's next message: that it begins, a line of progress, or how its task ended."""
        name, process = self.running[connection]
        try:
            kind, content = connection.recv()
        except EOFError:
            process.join()
            kind, content = "error", RnabenchError(f"{name}: its process ended with code {process.exitcode}; the same "
                                                   "command goes on from what was saved")
        if kind == "begun":
            self.begun.add(connection)
            return
        if kind == "line":
            self.progress.line(f"[{name}] {content}")
            return
        if kind == "result":
            self.results[name] = content
        elif self.problem is None or isinstance(self.problem, Stopped):  # an error says more than a stop
            self.problem = content
        del self.running[connection]
        process.join()


class _WorkerStop(StopRequest):
    """Asked for by the parent, by the parent's end, or by a signal to this process. Not by Ctrl-C: that reaches all
    processes of a terminal, and the parent passes it on."""

    def __init__(self, stop_all: Event) -> None:
        super().__init__()
        self.stop_all = stop_all

    def __bool__(self) -> bool:
        parent = multiprocessing.parent_process()
        return super().__bool__() or self.stop_all.is_set() or (parent is not None and not parent.is_alive())

    def __enter__(self) -> _WorkerStop:
        super().__enter__()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if hasattr(signal, "pthread_sigmask"):  # signals that came while the process started arrive now
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return self


def _work(task: Task, threads: int, gpu: str | None, connection: Connection, stop_all: Event) -> None:
    """What a worker does: its one task, and then tell how that ended."""
    if gpu is not None:  # before anything here looks for one
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    with _WorkerStop(stop_all) as stop, suppress(KeyboardInterrupt):  # interrupted by the parent, which knows why
        import torch

        torch.set_num_threads(threads)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        with suppress(BrokenPipeError):  # as below
            connection.send(("begun", None))
        message: tuple[str, Any]
        try:
            with Lines(lambda text: connection.send(("line", text))) as lines:
                message = "result", task.function(*task.arguments, lines, stop)
        except Stopped as stopped:
            message = "stopped", Stopped(f"{task.name}: {stopped}")
        except RnabenchError as error:
            message = "error", RnabenchError(f"{task.name}: {error}")
        except Exception:  # a mistake in the program: its traceback is the parent's to show
            message = "error", RuntimeError(f"{task.name}: {traceback.format_exc()}")
        with suppress(BrokenPipeError):  # the parent may be gone
            connection.send(message)


def _end_with_parent() -> None:
    """End this process soon after its parent, however that ended: nobody waits for it, and another run may begin."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        time.sleep(ORPHAN_SECONDS)
        os._exit(1)


def _end(processes: Sequence[BaseProcess]) -> None:
    """Ask processes to save their state and leave; those that have not after GRACE_SECONDS are killed."""
    try:
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
    finally:
        for process in processes:
            process.kill()
