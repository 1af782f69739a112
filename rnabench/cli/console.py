"""How runs look: a live bar on a terminal, plain lines elsewhere; results on stdout, the rest on stderr.

Nothing that is shown is markup: colour is given to words of our own, by `marked`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from rnabench.cli.output_streams import visible
from rnabench.errors import InvalidValue
from rnabench.runtime.progress import Lines, per_second
from rnabench.runtime.stopping import StopRequest


def stop_request(max_minutes: float | None) -> StopRequest:
    """Raises InvalidValue for a limit that is not positive."""
    if max_minutes is not None and not max_minutes > 0:
        raise InvalidValue("--max-minutes", max_minutes, "a positive number of minutes")
    return StopRequest(max_minutes)


class PlainConsole(Console):
    """Shows every text as it is, also in tables: a name is never markup, nor an emoji's code, nor obeyed."""

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(visible(text), **how | {"markup": False, "emoji": False})


def console(stderr: bool = False) -> Console:
    made = PlainConsole(stderr=stderr, highlight=False, emoji=False)
    if not made.is_terminal:  # a pipe or a file has no width to fit into
        made.width = 160
    return made


def marked(word: str, colour: str, text: str) -> Text:
    """A line that begins with a word in colour."""
    return Text.assemble((word, colour), " ", visible(text))


def tell(text: str) -> None:
    """A line on stderr."""
    console(stderr=True).print(text, soft_wrap=True)


class LiveProgress:
    """Renders `rnabench.runtime.progress.Progress`: a bar on a terminal, else lines; a context manager."""

    def __init__(self) -> None:
        self.console = console(stderr=True)
        self._bar: RichProgress | None = None
        self._lines = Lines(self._print)

    def __enter__(self) -> LiveProgress:
        if not self.console.is_terminal:
            self._lines.__enter__()
            return self
        self._bar = RichProgress(
            TextColumn("{task.description}", markup=False), BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"), TextColumn("{task.fields[rate]}"), TextColumn("ETA"),
            TimeRemainingColumn(), TextColumn("{task.fields[note]}", markup=False), console=self.console,
            transient=True,
        )
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        else:
            self._lines.__exit__(kind, error, trace)

    def begin(self, title: str, total: int, done: int = 0) -> None:
        if self._bar is None:
            self._lines.begin(title, total, done)
            return
        self._done, self._since, self._note = 0.0, time.monotonic(), ""
        for task in list(self._bar.task_ids):
            self._bar.remove_task(task)
        self._task = self._bar.add_task(visible(title), total=total or None, completed=done, rate="", note="")

    def advance(self, images: float, note: str = "") -> None:
        if self._bar is None:
            self._lines.advance(images, note)
            return
        self._done += images
        rate = per_second(self._done / max(time.monotonic() - self._since, 1e-9))
        self._note = note or self._note
        self._bar.update(self._task, advance=images, rate=rate, note=self._note)

    def line(self, text: str) -> None:
        if self._bar is None:
            self._lines.line(text)
        else:
            self._print(text)

    def _print(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)


def show_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int,
               footer: str = "") -> None:
    """Print a table to stdout; the first `text_columns` columns are text, the rest numbers."""
    out = console()
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, caption=footer or None,
                  caption_justify="left", pad_edge=False, padding=(0, 1, 0, 0))
    for position, heading in enumerate(headings):
        text = position < text_columns
        whole = position == 0 or (text and text_columns < 4)  # a table of texts folds its later columns
        table.add_column(heading, justify="left" if text else "right", no_wrap=whole)
    for row in rows:
        table.add_row(*row)
    out.print(table)
