"""Everything that a recipe names: train its networks (once), attack them, collect the records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rnabench.evaluation.run import attack, identity, load_run
from rnabench.progress import Progress
from rnabench.recipe import Recipe
from rnabench.report.record import read_record, write_record
from rnabench.stopping import StopRequest
from rnabench.training.run import run_name, train


def reproduce(
    recipe: Recipe, runs: Path, folder: Path, progress: Progress, stop: StopRequest, device: str
) -> dict[str, dict[str, Any]]:
    """The record of each model, by its name in the recipe.

    Networks live in `runs`, in folders named by what they are, so that recipes share them; each record is written to
    `folder` as soon as it is complete, and one that is there already, of the same evaluation, is not made again.
    Raises Stopped, and the errors of training and evaluation.
    """
    records = {}
    for name, training in recipe.models.items():
        progress.line(f"{name}: {training.objective} training of {training.arch} with space {training.space}")
        run = runs / run_name(training)
        train(training, run, progress, stop, device)
        target = load_run(run, recipe.test, recipe.evaluate, device, label=name)
        file = folder / f"{name}.json"
        record = read_record(file) if file.exists() else None
        if record is None or record["digest"] != identity(target, recipe.evaluate):
            progress.line(f"{name}: attacks on {target.data.name}, {len(target.data.source)} images")
            record = attack(target, recipe.evaluate, run / f"attack-{recipe.name}", progress, stop)
            write_record(record, file)
        records[name] = record
    return records
