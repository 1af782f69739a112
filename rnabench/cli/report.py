"""`rnabench report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from rnabench.cli import options as o


def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders of results, or folders of such folders.")],
    out: Annotated[Optional[Path], o.option("The page.  [default: <first folder>/report.html]", o.RUN)] = None,
) -> None:
    """Write all results of some folders to one HTML page that needs no network.

    It has their tables, figures, sanity checks and settings. The same results give the same page, byte for byte.
    """
    from rnabench.cli.console import console
    from rnabench.report.page.render import write_page

    file = out or folders[0] / "report.html"
    written = write_page(folders, file)
    for line in written.skipped:
        console(stderr=True).print(f"skipped: {line}", markup=False)
    console().print(f"in {file}: result folders {written.folders}, tables {written.tables}, figures {written.figures}, "
                    f"{written.bytes / 1e6:.2f} MB", markup=False, soft_wrap=True)
