"""`rnabench report` and `check`: what becomes of results that are there."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer

from rnabench.cli import options as o
from rnabench.cli.answer import Answer


def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders of results, or folders of such folders.")],
    smoke: Annotated[bool, o.option("Show the folders of smoke tests (NAME-smoke) too, which else are shown only where "
                                    "one is named itself.", o.RUN, "--smoke")] = False,
    out: Annotated[Optional[Path], o.option("The page.  [default: <first folder>/report.html]", o.RUN),
                   o.A_FILE] = None,
) -> Answer:
    """Write all results of some folders to one HTML page that needs no network.

    It opens with a leaderboard of every attacked network: natural accuracy, the paper's protocol, the adaptive worst
    case, what is left after all tries, cost, failed checks, trainings, the published number. Tables, figures, sanity
    checks and settings follow, measurements of speed last. The same results give the same page, byte for byte.
    """
    from rnabench.cli.console import console
    from rnabench.report.page.render import write_page

    file = out or folders[0] / "report.html"
    written = write_page(folders, file, smoke)
    for line in written.skipped:
        console(stderr=True).print(f"skipped: {line}", soft_wrap=True)
    if written.smoke:
        console().print(f"left out: {written.smoke} folders of smoke tests (--smoke shows them)")
    console().print(f"in {file}: result folders {written.folders}, tables {written.tables}, figures {written.figures}, "
                    f"{written.bytes / 1e6:.2f} MB", soft_wrap=True)
    return {"page": file, **asdict(written)}


def check(
    results: Annotated[Path, typer.Argument(help="Folder of results, or a table.csv.")],
    against: Annotated[Path, o.option("What they are compared with: a folder of results, or a table.csv.", o.RUN)],
    tolerance: Annotated[Optional[float], o.option("How far any accuracy may move, in points, instead of tests.  "
                                                   "[default: what chance allows]", o.RUN)] = None,
    everything: Annotated[bool, o.option("Show every cell, not only those that moved.", o.RUN, "--all")] = False,
    out: Annotated[Optional[Path], o.option("Also write the differences to this Markdown file.", o.RUN),
                   o.A_FILE] = None,
) -> Answer:
    """Compare results with earlier ones, cell by cell; exit code 1 if any moved.

    Fails where an accuracy rose or fell beyond chance, a cell vanished, was measured under other settings or became
    unreliable, or a sanity check got worse. Other seeds and times are no failure.

    Chance: the same weights on the same images are paired, image by image (with another seed, by path group); networks
    trained anew are held against the spread between trainings where there are several, else both 95 % intervals decide,
    as they do for a table.csv. All cells together fail by chance 1 time in 20 (Holm). The column `flagged from` is the
    smallest change that would have failed, all else as it is.
    """
    from rnabench.cli.console import console, marked, show_table
    from rnabench.errors import InvalidValue
    from rnabench.report.accuracies import read_accuracies
    from rnabench.report.regression import HEADINGS, TEXT_COLUMNS, compare, markdown
    from rnabench.runtime.files import write_text

    if tolerance is not None and not 0 <= tolerance <= 100:
        raise InvalidValue("--tolerance", tolerance, "points from 0 to 100")
    comparison = compare(read_accuracies(results, "results"), read_accuracies(against, "--against"), tolerance)
    title = f"{results} against {against}"
    if out is not None:
        write_text(out, markdown(comparison, title, everything))
    if shown := comparison.rows(everything):
        show_table(title, HEADINGS, shown, TEXT_COLUMNS)
    for note in comparison.notes:
        console().print(note)
    colour, verdict = ("bold red", "FAIL") if comparison.failed else ("green", "PASS")
    console().print(marked(verdict, colour, comparison.summary), soft_wrap=True)
    return {"failed": comparison.failed, "summary": comparison.summary, "compared": comparison.compared,
            "rows": [line.row for line in comparison.lines if everything or line.is_notable],
            "notes": comparison.notes}
