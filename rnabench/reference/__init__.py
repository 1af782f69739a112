"""The numbers that the RNA paper (NeurIPS 2022) publishes, as package data."""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources


@cache
def _rows() -> tuple[dict[str, str], ...]:
    text = resources.files(__name__).joinpath("paper_tables.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def published(table: str, **wanted: str) -> list[dict[str, str]]:
    """The rows of a table or figure (`table1`, `figure5c`) whose columns have the given values; all columns are text,
    `accuracy_percent` a number in percent."""
    return [row for row in _rows() if row["table"] == table and all(row[key] == value for key, value in wanted.items())]
