"""What a long run tells while it works. Engines talk to this interface; the command line renders it."""

from __future__ import annotations

from typing import Protocol

NOTEWORTHY = 1.5  # a load of the machine from which on it is told


class Progress(Protocol):
    def begin(self, title: str, total: int, done: int = 0) -> None:
        """A piece of work of `total` images starts, of which `done` were done before."""

    def advance(self, images: int, note: str = "") -> None:
        """So many more images are done; `note` is what is known so far (accuracies)."""

    def line(self, text: str) -> None:
        """A result worth keeping on screen."""


class Named:
    """Tells another progress whose work it is."""

    def __init__(self, name: str, progress: Progress) -> None:
        self.name, self.progress = name, progress

    def begin(self, title: str, total: int, done: int = 0) -> None:
        self.progress.begin(f"{self.name} {title}", total, done)

    def advance(self, images: int, note: str = "") -> None:
        self.progress.advance(images, note)

    def line(self, text: str) -> None:
        self.progress.line(f"{self.name}: {text}")


class Silent:
    """Tells nothing."""

    def begin(self, title: str, total: int, done: int = 0) -> None: ...

    def advance(self, images: int, note: str = "") -> None: ...

    def line(self, text: str) -> None: ...


def in_words(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def with_load(seconds: float, now: float) -> str:
    """The seconds on an idle machine, in words; and those as fast as things went just now, if that is much slower."""
    if now < NOTEWORTHY * seconds:
        return in_words(seconds)
    return f"{in_words(seconds)} on an idle machine, {in_words(now)} as busy as this one is now"
