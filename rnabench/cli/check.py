"""`rnabench check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from rnabench.cli import options as o

REGRESSION = 1  # the exit code of this alone: wrong input has another


def check(
    results: Annotated[Path, typer.Argument(help="Folder of results, or a table.csv.")],
    against: Annotated[Path, o.option("What they are compared with: a folder of results, or a table.csv.", o.RUN)],
    tolerance: Annotated[Optional[float], o.option("How far an accuracy may move, in points.  "
                                                   "[default: by what its interval allows]", o.RUN)] = None,
    everything: Annotated[bool, o.option("Show every cell, not only those that moved.", o.RUN, "--all")] = False,
    out: Annotated[Optional[Path], o.option("Also write the differences to this Markdown file.", o.RUN)] = None,
) -> None:
    """Compare results with earlier ones, cell by cell; exit code 1 if any moved.

    Fails where an accuracy rose or fell, a cell vanished, was measured under other settings or became unreliable, or a
    sanity check got worse. Other seeds and times are no failure.
    """
    from rich.markup import escape

    from rnabench.cli.console import console, show_table
    from rnabench.errors import InvalidValue
    from rnabench.files import write_text
    from rnabench.report.cells import read_results
    from rnabench.report.regression import HEADINGS, TEXT_COLUMNS, compare, markdown

    if tolerance is not None and not 0 <= tolerance <= 100:
        raise InvalidValue("--tolerance", tolerance, "points from 0 to 100")
    comparison = compare(read_results(results, "results"), read_results(against, "--against"), tolerance)
    title = f"{results} against {against}"
    if out is not None:
        write_text(out, markdown(comparison, title, everything))
    if shown := comparison.rows(everything):
        show_table(title, HEADINGS, [tuple(map(escape, row)) for row in shown], TEXT_COLUMNS)
    for note in comparison.notes:
        console().print(note, markup=False)
    colour, verdict = ("bold red", "FAIL") if comparison.failed else ("green", "PASS")
    console().print(f"[{colour}]{verdict}[/] {escape(comparison.summary)}", soft_wrap=True)
    if comparison.failed:
        raise typer.Exit(REGRESSION)
