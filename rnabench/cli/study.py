"""What the commands of all studies share: from options to a record, its files, and tables on the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from rnabench.cli import options as o

LONG = 48  # lines that a table on the screen may have

Runs = Annotated[list[Path], typer.Argument(help="Run folders, as written by `rnabench train`.")]
AttackName = Annotated[str, o.option("Attack by name, as in `rnabench attack --list`.", o.ATTACK)]
PathsOption = Annotated[str, o.option("What a randomised network stands for: itself with a draw per group of "
                                      "images (deployed), one path per normaliser (normalisers), or a number of "
                                      "random paths.", o.MODEL)]
Indices = Annotated[Optional[str], o.option("Test images by index, such as 0-99,250.  [default: --n-examples]", o.DATA)]
Resume = Annotated[bool, o.option("Go on with what is there, or start anew.", o.RUN)]
Out = Annotated[Optional[Path], o.option("Folder of the results.  [default: <first run>/<study>-<digest>]", o.RUN)]


def data_keys(dataset: str | None, data_dir: Path | None, dataset_name: str | None, download: bool) -> dict[str, Any]:
    """The data set's options, as far as they are given."""
    given = {"dataset": dataset, "data_dir": data_dir, "dataset_name": dataset_name, "download": download or None}
    return {name: value for name, value in given.items() if value is not None}


def study(kind: str, runs: list[Path], values: dict[str, Any], data: dict[str, Any], device: str, resume: bool,
          max_minutes: float | None, out: Path | None) -> None:
    """Do it, write its files, and show tables and findings. `values` are keys of the study."""
    from rnabench.settings.base import from_options
    from rnabench.settings.studies import STUDIES

    keys = from_options(STUDIES[kind], values)

    from rnabench.cli.console import LiveProgress, stop_request
    from rnabench.jobs.evaluate import load_run
    from rnabench.jobs.study import run_study, short_labels, study_identity
    from rnabench.report.origin import taken_over
    from rnabench.runtime.environment import now

    targets = short_labels([load_run(run, data, keys.evaluation(), device) for run in runs])
    folder = out or runs[0] / f"{kind}-{study_identity(targets, keys)}"
    started = now()
    with stop_request(max_minutes) as stop, LiveProgress() as progress:
        record = run_study(targets, keys, folder / f"{kind}.json", progress, stop, resume)
        if said := taken_over(record, started, str(targets[0].device)):
            progress.line(f"{said}; --no-resume makes it anew")
    finish_study(record, folder / kind)


def finish_study(record: dict[str, Any], stem: Path, title: str | None = None, on_screen: bool = True) -> None:
    """Write the files of a record that lies at <stem>.json, and print its tables."""
    from rnabench.cli.console import console, show_table
    from rnabench.report.origin import origin_lines
    from rnabench.report.study import heading, study_of, write_study

    files = write_study(record, stem, title or heading(record))
    out = console()
    if on_screen:
        out.print(heading(record), markup=False)
        for name, headings, lines in study_of(record).tables(record):
            if len(lines) > LONG:
                out.print(f"\n{name}: {len(lines)} lines, in {stem.name}.md\n", markup=False)
            else:
                show_table(name, headings, lines, text_columns=1)
    for sentence in study_of(record).findings(record):
        out.print(sentence, markup=False)
    for line in origin_lines([record]):
        out.print(line, markup=False)
    names = ", ".join([f"{stem.name}.json", *(file.name for file in files)])
    out.print(f"in {stem.parent}: {names}", markup=False)
