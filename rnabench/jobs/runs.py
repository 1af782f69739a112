"""The runs in a folder: those that a command takes where none is named, and all of them as a list."""

from __future__ import annotations

import csv
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnabench.errors import CheckpointError, RnabenchError
from rnabench.model.runs import LOG, Run, find_runs, finished_runs
from rnabench.report.record import Record
from rnabench.report.record_file import read_record
from rnabench.runtime.locks import is_claimed
from rnabench.settings.deployment import with_use
from rnabench.settings.parts import unusual_parts
from rnabench.settings.studies import Study

HEADINGS = ("run", "network", "space", "data", "state", "measured on", "epochs", "natural %", "attacked %", "MB")
TEXT_COLUMNS = 6


@dataclass(frozen=True)
class Listed:
    """What a list says of a run folder; None where a broken or unfinished one has no number. Accuracies are shares in
    [0, 1], measured `on` what they say; `epochs` are done, of so many `planned`."""

    run: Path
    network: str
    space: str
    data: str
    state: str
    on: str | None
    epochs: int
    planned: int | None
    natural: float | None
    attacked: float | None
    bytes: int

    @property
    def shown(self) -> tuple[str, ...]:
        """A row under HEADINGS."""
        epochs = "-" if self.planned is None else f"{self.epochs} of {self.planned}"
        if self.state == "finished" and self.epochs == self.planned:
            epochs = f"{self.epochs}"
        return (str(self.run), self.network, self.space, self.data, self.state, self.on or "-", epochs,
                _percent(self.natural), _percent(self.attacked), f"{self.bytes / 1e6:.1f}")


def list_runs(folder: Path) -> list[tuple[str, ...]]:
    """A row (HEADINGS) for each run folder in `folder`, newest first; a broken one says so and has no numbers."""
    return [each.shown for each in listed(folder)]


def listed(folder: Path) -> list[Listed]:
    """The same, with its numbers."""
    return [_listed(run) for run in find_runs(folder)]


def run_to_attack(folder: Path) -> tuple[Path, str]:
    """The run that is attacked where none is named, the newest finished one, and what to say of the choice.

    Raises CheckpointError if there is none.
    """
    finished = finished_runs(folder, instead=", or --model package.module:factory")
    newest = finished[0].folder
    among = f"the newest of {len(finished)} finished runs" if len(finished) > 1 else "the one finished run"
    return newest, f"no RUN given: attacking {newest}, {among} in {folder}"


def runs_for_study(study: Study, folder: Path) -> tuple[list[Path], str]:
    """The runs that a study is of where none is named, the oldest first, and what to say of the choice: all finished
    ones on one data set, the newest one's; for a study of paths within a network, those whose networks draw, and for
    one of networks with a single path, those whose do not.

    Raises CheckpointError if there is none.
    """
    finished = finished_runs(folder)
    usable = [run for run in finished if study.takes(run.is_random)]
    if not usable:
        kind, space = ("a randomised network", "bn+in") if study.of_paths else ("a network with a single path", "bn")
        raise CheckpointError(f"RUN: no run in {str(folder)!r} is of {kind}; expected one, such as "
                              f"`rnabench train --space {space}` makes, or another folder (--runs)")
    chosen = [run for run in reversed(usable) if run.data == usable[0].data]
    what = f"all {len(chosen)} finished runs" if len(chosen) > 1 else "the one finished run"
    randomised = " of randomised networks" if study.of_paths else " with a single path" if study.of_one_path else ""
    names = ", ".join(run.folder.name for run in chosen)
    return [run.folder for run in chosen], f"no RUN given: {what}{randomised} on {chosen[0].data} in {folder}: {names}"


@dataclass(frozen=True)
class _Measured:
    """Accuracies in [0, 1], and of what they are."""

    on: str | None = None
    natural: float | None = None
    attacked: float | None = None


def _listed(run: Run) -> Listed:
    recipe, model = run.described.get("recipe", {}), run.described.get("model", {})
    size = "".join(f" {name} {model[name]}" for name in ("width", "operators") if name in model)
    space = "-".join([str(model.get("space", "-")), *unusual_parts(model).values()])
    measured = _Measured() if run.fault else _on_test_images(run) or _held_out(run)
    planned = None if run.described.get("rounded") else recipe.get("epochs")
    return Listed(run.folder, f"{model.get('arch', '-')}{size}", space, run.data, _state(run), measured.on,
                  len(_log(run)), planned if isinstance(planned, int) and planned else None, measured.natural,
                  measured.attacked, _bytes(run.folder))


def _state(run: Run) -> str:
    if run.fault:
        return f"broken: {run.fault}"
    if run.finished:
        return "rounded" if run.described.get("rounded") else str(run.described["status"])
    busy = False
    with suppress(RnabenchError, OSError):  # a folder that cannot be written to has no locks
        busy = is_claimed(run.folder)
    return "in training" if busy else "unfinished"


def _log(run: Run) -> list[dict[str, str]]:
    try:
        with (run.folder / LOG).open(encoding="utf-8", newline="") as opened:
            return list(csv.DictReader(opened))
    except (OSError, ValueError, csv.Error):
        return []


def _held_out(run: Run) -> _Measured:
    """As its training judged it: the chosen epoch, or the last one so far."""
    chosen = run.described.get("selected")
    row: dict[str, Any] = chosen if run.finished and isinstance(chosen, dict) else (_log(run) or [{}])[-1]
    with suppress(KeyError, TypeError, ValueError):
        steps = run.described["recipe"]["steps"]
        return _Measured(f"held-out, PGD-{steps}", float(row["holdout_natural"]), float(row["holdout_pgd"]))
    return _Measured()


def _on_test_images(run: Run) -> _Measured | None:
    """As its newest record says: natural accuracy, and the worst case over the averaging attacks, or else the lowest
    accuracy under a bounded attack. None without a record that can be read."""
    for file in sorted(run.folder.glob("*/record.json"), key=_time, reverse=True):
        with suppress(RnabenchError, KeyError, TypeError, ValueError):
            return _recorded(read_record(file))
    return None


def _recorded(record: Record) -> _Measured:
    natural = next((result.accuracy for result in record.results if result.attack == "natural"), None)
    attacks = [result for result in record.results if result.attack != "natural" and result.bounded
               and result.parameters.get("eps") == record.threat.eps]
    lowest = min(attacks, key=lambda result: result.accuracy, default=None)
    attacked, by = None, ""
    if record.headline is not None and len(record.headline.attacks) > 1:
        attacked, by = record.headline.accuracy, f", worst case of {len(record.headline.attacks)}"
    elif lowest is not None:
        attacked, by = lowest.accuracy, f", {lowest.attack} / {lowest.protocol}"
    used = with_use("", record.model.deployed.content()) if record.model.deployed else ""
    return _Measured(f"{record.results[0].images} test images{used}{by}", natural, attacked)


def _time(file: Path) -> float:
    with suppress(OSError):
        return file.stat().st_mtime
    return 0.0


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _bytes(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size
    return total
