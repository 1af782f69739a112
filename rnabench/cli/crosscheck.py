"""`rnabench crosscheck`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from rnabench.cli import options as o


def crosscheck(
    run: Annotated[Path, typer.Argument(help="Run folder, as written by `rnabench train`.")],
    attacks: Annotated[Optional[str], o.option("Some of the attacks only, comma-separated.", o.ATTACK)] = None,
    eps: o.Eps = "8/255",
    dataset: o.DatasetOrNone = None,
    data_dir: o.DataDir = None,
    dataset_name: o.DatasetName = None,
    n_examples: Annotated[int, o.option("Test images (fewer for the slowest attacks).", o.DATA)] = 256,
    device: o.Device = "auto",
    seed: o.Seed = 0,
    out: Annotated[Optional[Path], o.option("Also write crosscheck.json and crosscheck.md there.", o.RUN)] = None,
) -> None:
    """Run our attacks and their counterparts in torchattacks and pyautoattack on the same images and the same path, and
    compare outcomes, distances and time."""
    from rnabench.errors import InvalidValue, one_of
    from rnabench.settings.base import from_options
    from rnabench.settings.evaluation import EvaluationSettings

    keys = from_options(EvaluationSettings, {"eps": eps, "n_examples": n_examples, "seed": seed})
    given: dict[str, Any] = {"dataset": dataset, "data_dir": data_dir, "dataset_name": dataset_name}

    from rnabench.cli.console import LiveProgress, show_table
    from rnabench.jobs.crosscheck import cases
    from rnabench.jobs.crosscheck import crosscheck as compare
    from rnabench.jobs.evaluate import load_run
    from rnabench.report.crosscheck import HEADINGS, display_rows, title, write_crosscheck

    known = cases()
    names = attacks.split(",") if attacks else list(known)
    for name in names:
        if name not in known:
            raise InvalidValue("--attacks", name, one_of(known), known)
    target = load_run(run, {name: value for name, value in given.items() if value is not None}, keys, device)
    with LiveProgress() as progress:
        result = compare(target.module, target.defence, target.data.source, len(target.data.classes), keys.eps, names,
                         seed, progress)
    result |= {"model": target.description["label"], "dataset": target.data.name,
               "digest": target.description["digest"]}
    show_table(title(result), HEADINGS, display_rows(result), text_columns=2)
    if out is not None:
        write_crosscheck(result, out)
