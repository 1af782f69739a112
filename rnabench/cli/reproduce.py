"""`rnabench reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from rnabench.cli import options as o


def reproduce(
    recipe: Annotated[Path, typer.Argument(help="A YAML file, such as recipes/quickstart.yaml.")],
    device: o.Device = "auto",
    max_minutes: o.MaxMinutes = None,
    only: Annotated[Optional[str], o.option("Some of it, comma-separated: `table`, and names of figures.  "
                                            "[default: all]", o.RUN)] = None,
    jobs: Annotated[int, o.option("Networks to train, attack or study at a time, each in a process with its share of "
                                  "the CPU threads (training with other threads rounds differently).", o.RUN)] = 1,
    runs: Annotated[Path, o.option("Where trained networks are kept, and found again.", o.RUN)] = Path("runs"),
    out: Annotated[Path, o.option("Results go to <out>/<recipe name>.", o.RUN)] = Path("results"),
) -> None:
    """Train, attack and study everything that a recipe names, and write its table and figures.

    What is trained or attacked already is not done again. Ctrl-C stops cleanly; the same command goes on.
    """
    from rnabench.errors import InvalidValue
    from rnabench.recipe_file import load_recipe

    if jobs < 1:
        raise InvalidValue("--jobs", jobs, "at least 1")
    loaded = load_recipe(recipe)
    if only is not None:
        loaded = loaded.only(only.split(","))

    from rnabench.cli.console import LiveProgress
    from rnabench.cli.limits import stop_request
    from rnabench.cli.results import finish
    from rnabench.cli.study import finish_study
    from rnabench.reproduce import reproduce as run_recipe

    folder = out / loaded.name
    with stop_request(max_minutes) as stop, LiveProgress() as progress:
        found = run_recipe(loaded, runs, folder, progress, stop, device, jobs)
    if found.table:
        finish(list(found.table.values()), folder, loaded.title)
    for name, record in found.figures.items():
        finish_study(record, folder / name, loaded.figures[name].title, on_screen=False)
