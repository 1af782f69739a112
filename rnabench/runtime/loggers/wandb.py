"""Weights & Biases: a run of the project `rnabench`, there or offline, as its own settings (WANDB_MODE) say."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from rnabench.runtime.watch import LOGGERS, Logger, Watched


@LOGGERS.register("wandb")
class WeightsAndBiases(Logger):
    """Sends scalars alone: no code, no console, nothing of the repository."""

    library = install = "wandb"

    def __init__(self, watched: Watched) -> None:
        self.run = import_module("wandb").init(
            project="rnabench", name=watched.title, group=watched.title, id=watched.run,
            resume="allow" if watched.run else None, reinit="create_new", save_code=False,
            settings={"console": "off", "disable_git": True, "disable_code": True})
        self.run.define_metric("*", step_metric="step")  # its own count of calls must not go back, and cells do

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log({"step": step, **values})

    def close(self) -> None:
        self.run.finish()
