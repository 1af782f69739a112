"""The commands of all studies: one function, and the settings of each."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

import rnabench.studies
from rnabench.cli import options as o
from rnabench.cli.answer import Answer

if TYPE_CHECKING:
    from rnabench.settings.deployment import Deployment
    from rnabench.settings.studies import Study

Runs = Annotated[Optional[list[Path]], typer.Argument(
    help="Run folders, as written by `rnabench train`.  [default: all finished ones in --runs on the newest one's data "
         "set]", show_default=False)]
Among = Annotated[Path, o.option("Folder in which runs are looked for if none is named.", o.RUN, "--runs")]
Models = Annotated[Optional[list[str]], o.option(
    "Anybody's network beside the runs, or instead: package.module:factory, or a registered name; may be repeated.",
    o.MODEL, "--model")]
Out = Annotated[Optional[Path], o.option("Folder of the results.  [default: <first run>/<study>-<digest>]", o.RUN)]

DOCSTRING, NAME = r'\A[^"\n]*:\n    """(.*?)"""', r'^    name(?:: .+)? = "([\w-]+)"$'


@cache
def studies() -> dict[str, str]:
    """The studies by name, each with the line that says what it does. This package's are read in their files and not
    imported, for which a list of commands has no time."""
    if metadata.entry_points(group="rnabench.studies"):  # other packages' need the import
        from rnabench.settings.studies import STUDIES

        return {name: _first_paragraph(study.__doc__) for name, study in STUDIES.items()}
    lines = {}
    for file in sorted(Path(rnabench.studies.__file__).parent.glob("*.py")):
        for declared in file.read_text(encoding="utf-8").split("\nclass ")[1:]:  # a whole syntax tree takes 10 ms
            name, docstring = re.search(NAME, declared, re.MULTILINE), re.search(DOCSTRING, declared, re.DOTALL)
            if name and docstring:
                lines[name[1]] = _first_paragraph(docstring[1])
    return lines


def _first_paragraph(docstring: str | None) -> str:
    return inspect.cleandoc(docstring or "").partition("\n\n")[0]


def settings_of(name: str) -> type[Study]:
    """The study of that name, whose fields are its settings."""
    from rnabench.settings.studies import STUDIES

    return STUDIES[name]


def study(kind: str) -> Callable[..., Answer]:
    """The function of the study of that name."""
    def run(
        data: o.Data,
        settings: Study,
        deployment: Deployment,
        runs: Runs = None,
        among: Among = Path("runs"),
        models: Models = None,
        model_args: o.ModelArgs = None,
        model_weights: o.ModelWeights = None,
        device: o.Device = "auto",
        resume: o.Resume = True,
        max_minutes: o.MaxMinutes = None,
        out: Out = None,
    ) -> Answer:
        from rnabench.cli.console import LiveProgress, stop_request
        from rnabench.cli.output import finish_study
        from rnabench.jobs.foreign import foreign_for_study, imports_beside
        from rnabench.jobs.study import load_for_study, run_study, short_labels, study_identity
        from rnabench.report.origin import taken_over
        from rnabench.runtime.environment import now

        imported, keys = imports_beside(runs or (), models or (), model_args or (), model_weights, data)
        if not runs and not imported:
            from rnabench.cli.console import tell
            from rnabench.jobs.runs import runs_for_study

            runs, choice = runs_for_study(settings, among)
            tell(choice)
        targets = short_labels([
            *(load_for_study(run, data, settings, device, deployment=deployment) for run in runs or ()),
            *(foreign_for_study(each, keys, settings, device) for each in imported)])
        folder = out or (runs[0] if runs else Path("runs")) / f"{kind}-{study_identity(targets, settings)}"
        started = now()
        with stop_request(max_minutes) as stop, LiveProgress() as progress:
            record = run_study(targets, settings, folder / f"{kind}.json", progress, stop, resume)
            if said := taken_over(record, started, str(targets[0].device)):
                progress.line(f"{said}; --no-resume makes it anew")
        return finish_study(record, folder / kind) | {"record": folder / f"{kind}.json"}

    run.__doc__ = inspect.cleandoc(f"""
        {studies()[kind]}

        Writes {kind}.json (with what every image did), .csv, .md, .png and .svg. Ctrl-C stops cleanly; the same command
        goes on.""")
    return run
