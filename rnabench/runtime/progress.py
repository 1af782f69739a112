"""What a long run tells while it works. Engines talk to this interface; the command line renders it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Protocol

NOTEWORTHY = 1.5  # a load of the machine from which on it is told
FEW_SECONDS = 10.0  # nobody needs to know more exactly how long so little takes
QUIET_SECONDS = 25.0  # at most, between two lines of a run that nobody sees a bar of
GRAIN = 64  # parts of an image in which a batch's progress is told: sums of them are exact, so that all is all




class Progress(Protocol):
    def begin(self, title: str, total: int, done: int = 0) -> None:
        """A piece of work of `total` images starts, of which `done` were done before; 0: nobody counts it."""

    def advance(self, images: float, note: str = "") -> None:
        """So many more images are done, or the work of so many; `note` is what is known so far (accuracies)."""

    def line(self, text: str) -> None:
        """A result worth keeping on screen."""


class Named:
    """Tells another progress whose work it is."""

    def __init__(self, name: str, progress: Progress) -> None:
        self.name, self.progress = name, progress

    def begin(self, title: str, total: int, done: int = 0) -> None:
        self.progress.begin(f"{self.name} {title}", total, done)

    def advance(self, images: float, note: str = "") -> None:
        self.progress.advance(images, note)

    def line(self, text: str) -> None:
        self.progress.line(f"{self.name}: {text}")


class Silent:
    """Tells nothing."""

    def begin(self, title: str, total: int, done: int = 0) -> None: ...

    def advance(self, images: float, note: str = "") -> None: ...

    def line(self, text: str) -> None: ...


class WithinBatch:
    """Moves a progress within a batch of `images`, by the share that is done of about `passes` forward passes of each.

    Attacks that end early jump to the end, those that take longer than expected wait there for `finish`.
    """

    def __init__(self, progress: Progress, images: int, passes: float) -> None:
        self.progress, self.images, self.expected = progress, images, passes * images
        self._passes = self._told = 0.0

    def passed(self, passes: float) -> None:
        """So many more passes of single images are done."""
        self._passes += passes
        share = min(1.0, self._passes / max(self.expected, 1.0))
        reached = math.floor(GRAIN * self.images * share) / GRAIN
        if reached > self._told:
            self.progress.advance(reached - self._told)
            self._told = reached

    def finish(self, note: str = "") -> None:
        """The whole batch is done."""
        self.progress.advance(self.images - self._told, note)


class Lines:
    """Progress as lines of text: results, and how far it is whenever nothing was said for `quiet` seconds, whatever the
    work is at. Use as a context manager around it."""

    def __init__(self, say: Callable[[str], None], quiet: float = QUIET_SECONDS) -> None:
        self._say, self._quiet = say, quiet
        self._lock, self._end = threading.Lock(), threading.Event()
        self._began = self._said = time.monotonic()
        self._title, self._note, self._total, self._before, self._done = "", "", 0.0, 0.0, 0.0

    def __enter__(self) -> Lines:
        self._thread = threading.Thread(target=self._speak_up, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def begin(self, title: str, total: int, done: int = 0) -> None:
        with self._lock:
            self._title, self._note, self._total, self._before, self._done = title, "", total, done, done
            self._began = time.monotonic()

    def advance(self, images: float, note: str = "") -> None:
        with self._lock:
            self._done, self._note = self._done + images, note or self._note

    def line(self, text: str) -> None:
        with self._lock:
            self._said = time.monotonic()
            self._say(text)

    def _speak_up(self) -> None:
        while not self._end.wait(max(0.0, self._said + self._quiet - time.monotonic())):
            if time.monotonic() >= self._said + self._quiet:
                with suppress(OSError):  # nobody listens any more; the work finds out for itself
                    self.line(self._standing())

    def _standing(self) -> str:
        with self._lock:
            took = time.monotonic() - self._began
            if not self._total:
                return f"{self._title or 'getting ready'} for {in_words(took)}"
            rate = (self._done - self._before) / max(took, 1e-9)
            parts = [f"{self._title}: {math.floor(self._done):,}/{self._total:,} images after {in_words(took)}",
                     f"{per_second(rate)}  about {in_words((self._total - self._done) / rate)} left" if rate else "",
                     self._note]
        return "  ".join(part for part in parts if part)


def per_second(rate: float) -> str:
    """`12,345 images/s`; below ten with as many digits as tell something."""
    return f"{rate:,.0f} images/s" if rate >= 10 else f"{rate:.2g} images/s"


def in_words(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def about(seconds: float, load: float = 1.0) -> str:
    """`about 12 min`, on an idle machine and, where the load is much, on this one as it is; `a few seconds`."""
    return f"about {with_load(seconds, seconds * load)}" if seconds >= FEW_SECONDS else "a few seconds"


def with_load(seconds: float, now: float) -> str:
    """The seconds on an idle machine, in words; and those as fast as things went just now, if that is much slower."""
    if now <= NOTEWORTHY * seconds:
        return in_words(seconds)
    return f"{in_words(seconds)} on an idle machine, {in_words(now)} as busy as this one is now"
