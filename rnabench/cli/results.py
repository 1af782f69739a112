"""What a command leaves behind: records, tables in files, and the table on screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rnabench.cli.console import console, show_table


def finish(records: Sequence[dict[str, Any]], files: Mapping[Path, dict[str, Any]], folder: Path, title: str) -> None:
    """Write `files` and the tables of `records` to `folder`, and print the table."""
    from rnabench.report.record import write_record
    from rnabench.report.table import HEADINGS, caption, display_rows, write_tables

    for file, record in files.items():
        write_record(record, file)
    write_tables(records, folder, title)
    show_table(f"{title}\n{caption(records)}", HEADINGS, display_rows(records), text_columns=3)
    console().print(f"written: {folder}/table.md, table.csv and {', '.join(file.name for file in files)}", markup=False)
