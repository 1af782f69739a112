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


class Silent:
    """Tells nothing."""

    def begin(self, title: str, total: int, done: int = 0) -> None: ...

    def advance(self, images: int, note: str = "") -> None: ...

    def line(self, text: str) -> None: ...
