"""The numbers that papers publish, as package data: a CSV file for each paper, a line for each number.

Columns, all of them text and empty where a line does not say: `table`; `dataset`, `arch`, `method` (the row's name),
`space`, `training` (the objective), `activation`, `denoise`, `denoise_at`, `smooth_gradient`, `randomization`,
`statistics`, `average` and `branch` (how the network is used), `operators`, `teacher` (yes, no): which network it is,
by the names that those have here; `column`: an attack as `rnabench attack` names it, under the paper's protocol or with
another's name behind (`pgd7@1/255 eot:2`), or what else was measured; `accuracy_percent`, or `number` for what is no
accuracy, or neither where the paper states none, which a note says; `note`: a number that was repaired, or is odd as
printed. A line without a space is of a network that is not among ours, or of a training that these columns do not tell
from another. The SORS paper uses group normalisation and does not say how many groups; the 32 here are an assumption.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

from rnabench.reference.papers import PAPERS, Paper

Row = dict[str, str]


@cache
def _rows() -> dict[str, tuple[Paper, list[Row]]]:
    """Every table: its paper and its lines, which all have the columns of all files."""
    found: dict[str, tuple[Paper, list[Row]]] = {}
    for paper in PAPERS:
        text = resources.files(__name__).joinpath(paper.file).read_text(encoding="utf-8")
        for row in csv.DictReader(text.splitlines()):
            found.setdefault(row["table"], (paper, []))[1].append(row)
    columns = dict.fromkeys(column for _, rows in found.values() for column in rows[0])
    return {table: (paper, [{**dict.fromkeys(columns, ""), **row} for row in rows])
            for table, (paper, rows) in found.items()}


def tables() -> list[str]:
    """The names of all tables and figures of which there are numbers: `table1`, `figure5c`, `sors-table3`."""
    return list(_rows())


def published(table: str, **wanted: str) -> list[Row]:
    """The lines of a table or figure, or of several joined by `+`, whose columns have the given values; none for a name
    that is unknown."""
    return [row for name in table.split("+") for row in _rows().get(name, (None, []))[1]
            if all(row[key] == value for key, value in wanted.items())]


def paper_of(table: str) -> Paper:
    """The paper that a table, or several joined by `+`, is of. Raises KeyError for a name that is unknown."""
    return _rows()[table.split("+")[0]][0]


def number(row: Row) -> float | None:
    """What a line states: percent for an accuracy; None for a cell that the paper leaves open."""
    text = row["accuracy_percent"] or row["number"]
    return float(text) if text else None
