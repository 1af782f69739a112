"""A logger: one class, told of scalars. `rnabench train --log lines` writes them as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

from rnabench.runtime.watch import LOGGERS, Logger, Watched


@LOGGERS.register("lines")
class Lines(Logger):
    """`library` is imported when the logger is asked for; without it a line says to install `install`."""

    library, install = "json", "json"

    def __init__(self, watched: Watched) -> None:
        self.file = (watched.folder / "lines.jsonl").open("a")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        print(json.dumps({"step": step, **values}), file=self.file, flush=True)

    def close(self) -> None:
        self.file.close()
