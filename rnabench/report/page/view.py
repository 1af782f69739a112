"""What the template shows: sections of blocks, made of tables, sentences, checks, figures and folds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from rnabench.report.page.embed import EmbeddedFigure
from rnabench.report.page.settings import Group

NUMBER = re.compile(r"[-+\u2212]?(\d[\d,]*(\.\d+)?|\.\d+)(e[-+]?\d+)?(?![\w.])")  # no `1.norm1`
NONE = ("", "-", "nan")
BESIDE = " (paper "  # what follows is the published number
LONG = 40  # rows from which a table is folded
EMPTY = Markup("")


@dataclass(frozen=True)
class Table:
    """Cells as texts. A column is numeric if every cell begins with a number or has no value."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    open: bool = False  # shown even if it is long

    @property
    def numeric(self) -> list[bool]:
        columns = [[own for row in self.rows if (own := row[place].partition(BESIDE)[0]) not in NONE]
                   for place in range(len(self.headings))]
        return [bool(column) and all(NUMBER.match(cell) for cell in column) for column in columns]

    @property
    def long(self) -> bool:
        return len(self.rows) > LONG and not self.open


@dataclass(frozen=True)
class Check:
    """One sanity check of one model: PASS, WARN or FAIL, and why."""

    status: str
    text: str


@dataclass(frozen=True)
class Fold:
    """Folded content, shown at a click: settings, what each result took, and folds of its own."""

    title: str
    groups: tuple[Group, ...] = ()
    tables: tuple[Table, ...] = ()
    folds: tuple[Fold, ...] = ()


@dataclass(frozen=True)
class Block:
    """A table or a figure of the paper, or a measurement, with all that belongs to it."""

    id: str
    title: str
    caption: str = ""
    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    prose: Markup = EMPTY
    checks: tuple[Check, ...] = ()
    figures: tuple[EmbeddedFigure, ...] = ()
    legend: Markup = EMPTY
    folds: tuple[Fold, ...] = ()


@dataclass(frozen=True)
class Section:
    """One result folder."""

    id: str
    name: str
    title: str
    blocks: tuple[Block, ...]

    @property
    def statuses(self) -> dict[str, int]:
        """How many checks ended how, the worst first."""
        ended = [check.status for block in self.blocks for check in block.checks]
        return {status: ended.count(status) for status in ("FAIL", "WARN", "PASS") if status in ended}


def table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], open: bool = False) -> Table:
    """Raises ValueError unless every row has a cell for each heading."""
    if any(len(row) != len(headings) for row in rows):
        raise ValueError(f"expected {len(headings)} cells in every row of {title!r}")
    return Table(title, tuple(headings), tuple(tuple(row) for row in rows), open)


def fragment(name: str, taken: set[str]) -> str:
    """A name as an id that no other part of the page has."""
    wanted = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "part"
    found, number = wanted, 2
    while found in taken:
        found, number = f"{wanted}-{number}", number + 1
    taken.add(found)
    return found
