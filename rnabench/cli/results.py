"""What a command leaves behind: records, tables in files, and the table on screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnabench.cli.console import console, show_table


def finish(records: Sequence[dict[str, Any]], folder: Path, title: str) -> None:
    """Write the tables of `records` to `folder`, and print the table."""
    from rnabench.report.table import HEADINGS, caption, display_rows, write_tables

    write_tables(records, folder, title)
    show_table(f"{title}\n{caption(records)}", HEADINGS, display_rows(records), text_columns=3)
    files = ", ".join(sorted(file.name for file in folder.glob("*.*") if file.is_file()))
    console().print(f"in {folder}: {files}", markup=False)
