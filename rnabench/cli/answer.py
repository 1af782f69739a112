"""What a command found, for programs: with `--json`, standard output holds one JSON document and nothing else.

A command returns its answer; `rnabench.cli.command` prints it if that is asked for. Whatever is shown to people
meanwhile, or printed by a network's own code, then goes to standard error. An answer that is `failed` is a verdict, and
the exit code is 1. howto/json.md of the documentation names the keys: they stay, in name and meaning, or SCHEMA is
raised.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import Any

from rnabench import __version__

Answer = dict[str, Any]
SCHEMA = 1
FAILED = 1  # the exit code of a verdict: wrong input has another


@contextmanager
def document_alone() -> Iterator[None]:
    """Inside, what is written to standard output, here and in processes that are started here, goes to standard error.
    """
    has_both = None not in (sys.stdout, sys.stderr)  # else their numbers may by now be those of other files
    with redirect_stdout(sys.stderr), ExitStack() as after:
        if has_both:
            kept = os.dup(1)
            after.callback(os.close, kept)
            os.dup2(2, 1)
            after.callback(os.dup2, kept, 1)
        yield


def show(command: str, answer: Answer) -> None:
    """Print the document."""
    from json import dumps

    from rnabench.runtime.plain import plain

    document = {"command": command, "schema": SCHEMA, "rnabench": __version__} | plain(answer)
    print(dumps(document, indent=1, allow_nan=False))
