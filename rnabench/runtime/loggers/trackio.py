"""Trackio: a run of the project `rnabench`, in its own database on this machine or where its settings say."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from rnabench.runtime.watch import LOGGERS, Logger, Watched


@LOGGERS.register("trackio")
class Trackio(Logger):
    library = install = "trackio"

    def __init__(self, watched: Watched) -> None:
        name = f"{watched.title}-{watched.run}" if watched.run else watched.title  # a name is all that it goes on by
        self.run = import_module("trackio").init(project="rnabench", name=name, group=watched.title, resume="allow")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        import_module("trackio").finish()  # run.finish() leaves it the current one, which ends once more at exit
