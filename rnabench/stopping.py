"""Stopping a long run cleanly: Ctrl-C or a time limit asks, the run saves its state and leaves."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType


class Stopped(Exception):
    """The run was asked to stop and has saved its state; the same command goes on. `interrupted`: by Ctrl-C."""

    def __init__(self, where: str, interrupted: bool) -> None:
        super().__init__(where)
        self.interrupted = interrupted

    def __reduce__(self) -> tuple[type[Stopped], tuple[str, bool]]:
        return Stopped, (str(self), self.interrupted)  # between processes


class StopRequest:
    """Asked for by the first Ctrl-C or after `max_minutes`; a second Ctrl-C interrupts at once.

    Use as a context manager around the run: it listens to SIGINT inside the block only.
    """

    def __init__(self, max_minutes: float | None = None) -> None:
        self.max_minutes = max_minutes
        self._deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
        self.interrupted = False

    def __bool__(self) -> bool:
        return self.interrupted or (self._deadline is not None and time.monotonic() >= self._deadline)

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if hasattr(self, "_previous"):
            signal.signal(signal.SIGINT, self._previous)

    def stopped(self, where: str) -> Stopped:
        """The exception to raise once the state is saved."""
        return Stopped(where, self.interrupted)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
