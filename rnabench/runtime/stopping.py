"""Stopping a long run cleanly: a signal or a time limit asks, the run saves its state and leaves."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import ClassVar

# What Ctrl-C sends, what schedulers send before they kill, what a closing terminal sends; Windows lacks the last two.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name))
SAME_SECONDS = 1.0  # a scheduler that signals a process and its group sends the same SIGTERM twice
PATIENCE = 5.0  # seconds; who signals usually kills half a minute later, and a person does not wait as long


class Stopped(Exception):
    """The run was asked to stop and has saved its state; the same command goes on."""


class StopRequest:
    """Asked for by Ctrl-C (SIGINT), SIGTERM, SIGHUP or SIGUSR1 (or other `signals`), or after `max_minutes`.

    True once the run has been asked to stop. Use as a context manager around the run: signals are handled inside the
    block only, and none that was ignored before, as SIGHUP is under `nohup`. Ctrl-C or SIGTERM a second time interrupts
    at once, by KeyboardInterrupt.
    """

    _open: ClassVar[list[StopRequest]] = []  # those inside of their blocks, in the order in which they came

    def __init__(self, max_minutes: float | None = None, signals: Collection[int] = SIGNALS) -> None:
        self.max_minutes, self.signals = max_minutes, signals
        self._deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
        self._first: dict[int, float] = {}  # by signal, the time when it first came
        self._previous: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
        self._entered = 0

    def __bool__(self) -> bool:
        return bool(self._first) or (self._deadline is not None and time.monotonic() >= self._deadline)

    def __enter__(self) -> StopRequest:
        self._entered += 1
        if threading.current_thread() is threading.main_thread() and self not in self._open:
            self._open.append(self)
            self._previous = {number: signal.signal(number, self._on_signal) for number in self.signals
                              if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered -= 1
        if self._entered or self not in self._open or threading.current_thread() is not threading.main_thread():
            return
        self._open.remove(self)
        for number, handler in self._previous.items():
            later = [other for other in self._open if other._previous.get(number) == self._on_signal]
            if later:  # it goes on, as coroutines may, and puts back what there was before both
                later[0]._previous[number] = handler
            elif signal.getsignal(number) == self._on_signal:  # else somebody has set another since
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    @property
    def presses(self) -> bool:
        """Whether a signal came a while ago and the run is still there: what it is at cannot be saved, as when somebody
        else's code attacks, and is to be given up. A time limit never presses: in slices that are shorter than such a
        piece of work nothing would ever be done."""
        return bool(self._first) and time.monotonic() - min(self._first.values()) >= PATIENCE

    @property
    def asked_by(self) -> set[int]:
        """The signals that have come."""
        return set(self._first)

    def stopped(self, where: str) -> Stopped:
        """The exception to raise once the state is saved."""
        return Stopped(where)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if number not in self._first:
            self._first[number] = now
        elif number == signal.SIGINT or (number == signal.SIGTERM and now - self._first[number] > SAME_SECONDS):
            raise KeyboardInterrupt


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Signals that ask to stop arrive after the block. A process started in it inherits that, until it is ready."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
