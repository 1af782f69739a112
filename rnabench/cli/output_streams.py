"""Standard output and error as they are met: a full disk, a reader that has gone, names of any bytes.

What cannot be written to standard output is an error, told in one line. A reader that has gone (`| head -1`) ends the
command without a word and with the exit code that shells give a program that SIGPIPE ended. What else keeps standard
error from being written, such as a terminal that was closed, does not end a run of hours: it only tells how far it is.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

READER_GONE, CANNOT_WRITE = 128 + 13, 2  # 13: SIGPIPE

# obeyed by a terminal, or turning the order of what is read; line ends and tabs aside
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """A text for a terminal: control characters, which a file's name may have, are shown as Python writes them."""
    return CONTROL.sub(lambda character: ascii(character.group())[1:-1], text)


class OutputLost(OSError):
    """Nobody gets what was written to standard output, or to a standard error whose reader has gone."""

    def __init__(self, stream: TextIO, reason: OSError) -> None:
        super().__init__(str(reason))
        self.stream, self.reader_gone = stream, reason.errno == errno.EPIPE
        self.strerror = reason.strerror


class Watched:
    """A standard stream that raises OutputLost; letters that its encoding lacks are written as escapes."""

    def __init__(self, stream: TextIO, needed: bool) -> None:
        self._stream, self._needed = stream, needed

    def write(self, text: str) -> int:
        try:
            with self._watched():
                return self._stream.write(text)
        except UnicodeEncodeError:  # a name that is no UTF-8, or a terminal that is none
            encoding = self._stream.encoding
            with self._watched():
                return self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        with self._watched():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._needed or error.errno == errno.EPIPE:
                raise OutputLost(self._stream, error) from error


@contextmanager
def watched_output() -> Iterator[None]:
    """Inside, output that is lost ends the program, by SystemExit."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, Watched(stream, needed)) if stream is not None else stream
                              for stream, needed in zip(streams, (True, False), strict=True))
    try:
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:  # as it is where a program is started without
                    stream.flush()  # not left to the interpreter's end, which has no way to tell
    except OutputLost as lost:
        _discard(lost.stream)
        if lost.reader_gone:
            sys.exit(READER_GONE)
        print(f"error: standard output: cannot be written ({lost.strerror})", file=sys.stderr)
        sys.exit(CANNOT_WRITE)
    finally:
        sys.stdout, sys.stderr = streams


def _discard(stream: TextIO) -> None:
    """Let what the stream still holds go nowhere, else the interpreter would try again at its end."""
    with suppress(OSError, ValueError):  # a test's stream is no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
