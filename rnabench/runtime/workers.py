"""Independent pieces of work in processes of their own: small networks keep neither two cores nor a GPU busy alone."""

from __future__ import annotations

import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from typing import Any

from rnabench.errors import RnabenchError
from rnabench.runtime.progress import Lines, Progress
from rnabench.runtime.stopping import SIGNALS, Stopped, StopRequest

POLL_SECONDS = 0.2
GRACE_SECONDS = 10.0  # that a process gets to save its state when all is interrupted at once


@dataclass(frozen=True)
class Task:
    """`function(*arguments, progress, stop)`; all of it, and what it returns, can be pickled."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def side_by_side(tasks: Sequence[Task], jobs: int, progress: Progress, stop: StopRequest) -> dict[str, Any]:
    """What each task returns, by its name; up to `jobs` at a time, each with its share of the CPU threads.

    One job runs them here, in order. If one fails or `stop` asks, the others are stopped where they can go on later;
    then the error, or Stopped, is raised. The number of threads is part of what a network trained on a CPU rounds to.
    """
    if jobs == 1 or len(tasks) < 2:
        return {task.name: task.function(*task.arguments, progress, stop) for task in tasks}
    return _Pool(list(tasks), min(jobs, len(tasks)), progress, stop).run()


class _Pool:
    def __init__(self, tasks: list[Task], jobs: int, progress: Progress, stop: StopRequest) -> None:
        import torch

        self.waiting, self.jobs, self.progress, self.stop = tasks, jobs, progress, stop
        self.order = [task.name for task in tasks]
        self.threads = max(1, torch.get_num_threads() // jobs)
        self.context = multiprocessing.get_context("spawn")
        with _signals_wait():  # multiprocessing starts a helper of its own here, which SIGUSR1 would kill
            self.ask = self.context.Event()
        self.running: dict[Connection, tuple[str, BaseProcess]] = {}
        self.found: dict[str, Any] = {}
        self.problem: BaseException | None = None

    def run(self) -> dict[str, Any]:
        try:
            while self.running or (self.waiting and self.problem is None):
                while self.waiting and len(self.running) < self.jobs and self.problem is None:
                    self._start(self.waiting.pop(0))
                for connection in wait(list(self.running), POLL_SECONDS):
                    assert isinstance(connection, Connection)
                    self._hear(connection)
                if self.stop and self.problem is None:
                    self.problem = self.stop.stopped(", ".join(name for name, _ in self.running.values()))
                if self.problem is not None:
                    self.ask.set()
        finally:  # a second Ctrl-C comes here while tasks run
            _end([process for _, process in self.running.values()])
        if self.problem is not None:
            raise self.problem
        return {name: self.found[name] for name in self.order}

    def _start(self, task: Task) -> None:
        here, there = self.context.Pipe(duplex=False)
        process = self.context.Process(target=_work, args=(task, self.threads, there, self.ask))
        with _signals_wait():
            process.start()
        there.close()
        self.running[here] = task.name, process

    def _hear(self, connection: Connection) -> None:
        name, process = self.running[connection]
        try:
            kind, content = connection.recv()
        except EOFError:
            process.join()
            kind, content = "error", RnabenchError(f"{name}: its process ended with code {process.exitcode}; the same "
                                                   "command goes on where it was, if that is not a mistake of ours")
        if kind == "line":
            self.progress.line(f"[{name}] {content}")
            return
        if kind == "done":
            self.found[name] = content
        elif self.problem is None or isinstance(self.problem, Stopped):
            self.problem = content
        del self.running[connection]
        process.join()


class _Asked(StopRequest):
    """Asked for by the parent, or by its end, or by a signal to this process; but Ctrl-C, which reaches all
    processes of a terminal, is the parent's to hear and to pass on."""

    def __init__(self, ask: Event) -> None:
        super().__init__()
        self.ask = ask

    def __bool__(self) -> bool:
        parent = multiprocessing.parent_process()
        return super().__bool__() or self.ask.is_set() or (parent is not None and not parent.is_alive())

    def __enter__(self) -> _Asked:
        super().__enter__()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # what came before is heard now
        return self


def _work(task: Task, threads: int, connection: Connection, ask: Event) -> None:
    with _Asked(ask) as stop, suppress(KeyboardInterrupt):  # the parent knows why
        _work_until(stop, task, threads, connection)


def _work_until(stop: StopRequest, task: Task, threads: int, connection: Connection) -> None:
    import torch

    torch.set_num_threads(threads)
    found: tuple[str, Any]
    try:
        with Lines(lambda text: connection.send(("line", text))) as lines:
            found = "done", task.function(*task.arguments, lines, stop)
    except Stopped as stopped:
        found = "stopped", Stopped(f"{task.name}: {stopped}")
    except RnabenchError as error:
        found = "error", RnabenchError(f"{task.name}: {error}")
    except Exception:  # a mistake in the program: its traceback is the parent's to show
        found = "error", RuntimeError(f"{task.name}: {traceback.format_exc()}")
    with suppress(BrokenPipeError):  # the parent may be gone
        connection.send(found)


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Signals that ask to stop wait until the end of the block; in a process started in it, until it listens."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(processes: Sequence[BaseProcess]) -> None:
    """Ask processes to save their state and leave; those that have not after GRACE_SECONDS are killed."""
    try:
        for process in processes:
            process.terminate()
        last = time.monotonic() + GRACE_SECONDS
        for process in processes:
            process.join(max(0.0, last - time.monotonic()))
    finally:
        for process in processes:
            process.kill()
