"""Run folders: what each says of itself, and which of those in a folder are finished. Loads no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rnabench.errors import CheckpointError, all_at_once
from rnabench.model.run_file import RunSaid, WholeRun
from rnabench.settings.base import problems
from rnabench.settings.documents import Unreadable, read_json

WEIGHTS, RUN_FILE, LOG = "model.safetensors", "run.json", "log.csv"
EVENTS = "events"  # a folder, of what loggers were told of the training
USABLE = ("finished", "converted")


def read_run(folder: Path, whole: bool = False) -> dict[str, Any]:
    """The run's `run.json`, from which its network can be built; with `whole`, with all that a record says of it too.

    Raises CheckpointError, which names every key whose value is missing or of the wrong kind.
    """
    content = _content(folder)
    kind = WholeRun if whole else RunSaid
    try:
        kind.model_validate(content)
    except ValidationError as error:
        raise damaged(folder, error) from None
    return content


def damaged(folder: Path, error: ValidationError) -> CheckpointError:
    """What is wrong with a run's `run.json`, all at once."""
    faults = all_at_once([f"{key}: {text}" for key, text in problems(error, RunSaid)], between="; ")
    return CheckpointError(f"run: {str(folder / RUN_FILE)!r} is damaged ({faults}); expected JSON written by "
                           "`rnabench train`")


def _content(folder: Path) -> dict[str, Any]:
    file = folder / RUN_FILE
    if not os.path.exists(file):
        raise CheckpointError(f"run: {str(folder)!r} has no {RUN_FILE}; expected a folder written by `rnabench train`")
    try:
        content = read_json(file)
    except Unreadable as error:
        raise CheckpointError(f"run: {str(file)!r} cannot be read ({error}); expected JSON written by `rnabench train`"
                              ) from None
    if not isinstance(content, dict) or not all(isinstance(content.get(key), dict) for key in ("model", "recipe")):
        raise CheckpointError(f"run: {str(file)!r} describes no model; expected JSON written by `rnabench train`")
    return content


def without_places(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of a run, and that of its teacher, but not where their data sets lie."""
    kept = {name: value for name, value in recipe.items() if name not in ("data_dir", "download")}
    return kept | ({"teacher": without_places(recipe["teacher"])} if recipe.get("teacher") else {})


@dataclass(frozen=True)
class Run:
    """A run folder, finished or not, whole or broken; `changed` is when it was last written, in seconds since 1970."""

    folder: Path
    changed: float

    @cached_property
    def described(self) -> dict[str, Any]:
        """Its run.json; empty if that cannot be read."""
        try:
            return _content(self.folder)
        except CheckpointError:
            return {}

    @property
    def fault(self) -> str:
        """What is broken about it, in a few words; nothing for a run that is whole or only unfinished."""
        if not self.described:
            there = os.path.exists(self.folder / RUN_FILE)
            return f"{RUN_FILE} is {'damaged' if there else 'missing'}"
        missing = self.described.get("status") in USABLE and not os.path.isfile(self.folder / WEIGHTS)
        return f"{WEIGHTS} is missing" if missing else ""

    @property
    def finished(self) -> bool:
        """Whether its network can be used."""
        return self.described.get("status") in USABLE and not self.fault

    @property
    def data(self) -> str:
        """What results call the data set that it was trained on."""
        told = self.described.get("data")
        return str(told.get("name", "-")) if isinstance(told, dict) else "-"

    @property
    def is_random(self) -> bool:
        """Whether its network has several paths."""
        return str(self.described.get("model", {}).get("paths", "1")) != "1"


def find_runs(folder: Path) -> list[Run]:
    """The run folders in `folder`, newest first; `folder` itself, if it is one."""
    try:
        inside = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir()]
    except OSError:
        inside = []
    found = [Run(place, _changed(place)) for place in ([folder] if _is_run(folder) else inside) if _is_run(place)]
    return sorted(found, key=lambda run: (-run.changed, run.folder.name))


def finished_runs(folder: Path, instead: str = "") -> list[Run]:
    """The finished ones among them. Raises CheckpointError, which says how to make one, or what `instead`, if there is
    none."""
    runs = find_runs(folder)
    if not (finished := [run for run in runs if run.finished]):
        begun = f" ({len(runs)} unfinished or broken: see `rnabench runs {folder}`)" if runs else ""
        raise CheckpointError(f"RUN: no finished run in {str(folder)!r}{begun}; expected one, which `rnabench train` "
                              f"makes, or another folder (--runs){instead}")
    return finished


def _is_run(folder: Path) -> bool:
    return any(os.path.exists(folder / name) for name in (RUN_FILE, WEIGHTS))


def _changed(folder: Path) -> float:
    times = [0.0]
    for name in (RUN_FILE, WEIGHTS, LOG):
        with suppress(OSError):  # not there, or gone by now
            times.append(os.path.getmtime(folder / name))
    return max(times)
