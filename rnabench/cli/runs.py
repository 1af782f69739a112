"""`rnabench runs`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rnabench.cli.answer import Answer


def runs(
    folder: Annotated[Path, typer.Argument(help="Folder of run folders, or one of these.")] = Path("runs"),
) -> Answer:
    """List the trained networks in a folder, newest first: how far each is, and its newest accuracies.

    Accuracies are those of a run's newest record (`rnabench attack`), or else those on the images that its training
    held out.
    """
    from rnabench.errors import InvalidValue

    if not folder.is_dir():
        raise InvalidValue("FOLDER", str(folder), "a folder of runs, which `rnabench train` makes")

    from rnabench.cli.console import console, show_table
    from rnabench.jobs.runs import HEADINGS, TEXT_COLUMNS, listed

    found = listed(folder)
    if found:
        show_table(f"Runs in {folder}, newest first", HEADINGS, [each.shown for each in found], TEXT_COLUMNS)
    else:
        console().print(f"no run in {folder}; `rnabench train` makes one")
    return {"runs": list(map(asdict, found))}
