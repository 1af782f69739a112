"""The table of a result folder that is arranged like a paper's, and what it says the paper published of a row."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rnabench.errors import InvalidValue
from rnabench.report.table_files import read_csv
from rnabench.settings.attacks import parse_attack

PAPER = re.compile(r"\(paper ([\d.]+)\)")


@dataclass(frozen=True)
class PaperTable:
    """`paper.csv`: all rows are as long as the headings, and begin with the model's name."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Published:
    """What a paper states of a network, in percent: the `accuracy` under the strongest bounded `attack` at an eps (the
    least that it states), and the `natural` one, None where it states none."""

    accuracy: float
    attack: str
    natural: float | None


def read_paper_table(folder: Path) -> PaperTable | None:
    """The table of a folder; None where there is none, or it cannot be read."""
    try:
        headings, *rows = read_csv(folder / "paper.csv")
    except (OSError, ValueError, csv.Error):
        return None
    width = len(headings)
    return PaperTable(tuple(headings), tuple(tuple((row + [""] * width)[:width]) for row in rows))


def published_of(table: PaperTable, model: str, eps: float) -> Published | None:
    """What the table says that the paper states of a model under attacks of that eps (in [0, 1]); None for nothing."""
    cells = next((row for row in table.rows if row[0] == model), ())
    stated = [(column.partition(" (here ")[0], float(number[1]))
              for column, cell in zip(table.headings, cells, strict=False) if (number := PAPER.search(cell))]
    attacked = [(accuracy, column) for column, accuracy in stated if _is_bounded_at(column, eps)]
    if not attacked:
        return None
    return Published(*min(attacked), natural=_first(stated, "natural"))


def _is_bounded_at(column: str, eps: float) -> bool:
    """Whether a column is of an attack that knows an eps, and has this one, whatever the protocol."""
    with suppress(InvalidValue):
        attack = parse_attack(column.partition(" ")[0])
        return attack.bounded and (attack.eps is None or abs(attack.eps - eps) < 1e-9)
    return False


def _first(stated: Sequence[tuple[str, float]], column: str) -> float | None:
    return next((number for name, number in stated if name == column), None)
