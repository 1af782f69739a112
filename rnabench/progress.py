"""What a long run tells while it works. Engines talk to this interface; the command line renders it."""

from __future__ import annotations

from typing import Protocol


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
