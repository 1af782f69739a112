"""What a study leaves behind: CSV, Markdown and figures, drawn from its record."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from rnabench.report import path_difference, similarity, smoothness, theory, transfer
from rnabench.report.figure import save
from rnabench.report.origin import origin_lines
from rnabench.report.study import PUBLISHED, caption
from rnabench.runtime.files import write_text

REPORTS: dict[str, ModuleType] = {
    "transfer-matrix": transfer, "path-difference": path_difference, "smoothness": smoothness,
    "gradient-similarity": similarity, "theory": theory,
}


def tables(record: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """(title, headings, lines of cells) of each table; the first column is text."""
    found: list[tuple[str, list[str], list[list[str]]]] = REPORTS[record["study"]].tables(record)
    return found


def findings(record: dict[str, Any]) -> list[str]:
    """What the numbers say, a sentence each."""
    found: list[str] = REPORTS[record["study"]].findings(record)
    return found


def heading(record: dict[str, Any]) -> str:
    return f"{REPORTS[record['study']].TITLE}: {caption(record)}"


def markdown(record: dict[str, Any], title: str) -> str:
    parts = [f"# {title}", heading(record) + ".", *findings(record)]
    for name, headings, lines in tables(record):
        table = pd.DataFrame(lines, columns=headings).to_markdown(
            index=False, disable_numparse=True, colalign=("left",) + ("right",) * (len(headings) - 1))
        parts += [f"**{name}**", table]
    return "\n\n".join([*parts, *origin_lines([record]), legend(record)]) + "\n"


def legend(record: dict[str, Any]) -> str:
    """What the columns mean, as far as they are there."""
    report = REPORTS[record["study"]]
    marked = any(row.get("paper_percent") is not None for row in report.rows(record))
    return f"{report.LEGEND} {PUBLISHED}" if marked else str(report.LEGEND)


def write_study(record: dict[str, Any], stem: Path, title: str) -> list[Path]:
    """Write <stem>.csv, <stem>.md, and <stem>[-part].png and .svg."""
    report = REPORTS[record["study"]]
    files = [stem.with_name(stem.name + ".csv"), stem.with_name(stem.name + ".md")]
    write_text(files[0], pd.DataFrame(report.rows(record)).to_csv(index=False, lineterminator="\n"))
    write_text(files[1], markdown(record, title))
    for part, figure in report.figures(record).items():
        files += save(figure, stem.with_name(stem.name + part))
    return files
