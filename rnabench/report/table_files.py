r"""Tables as files that other programs read: CSV that no spreadsheet takes for formulas, Markdown that stays a table.

A name that begins like a formula gets an apostrophe before it, as OWASP advises, and loses it when it is read back, so
that what is read is exactly what was written: `=cmd` is written `'=cmd`, and `'=cmd` is written `''=cmd`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnabench.runtime.files import write_text

if TYPE_CHECKING:
    import pandas as pd

FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")  # noqa: RUF001 - the wide ones are formulas as well
# numbers, and our dash for what was not measured, with the number of the paper beside it
HARMLESS = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|-inf|-( \(paper \d+\.\d+\))?")


def csv_text(rows: pd.DataFrame | list[dict[str, Any]], columns: list[str] | None = None) -> str:
    """Rows with their headings (`columns`, if there may be none) as the text of a CSV file."""
    import pandas as pd  # here, as studies import this file, and help imports studies

    text = pd.DataFrame(rows, columns=columns).to_csv(index=False, lineterminator="\r\n")  # so that it quotes both
    lines = csv.reader(io.StringIO(text, newline=""))
    out = io.StringIO()
    quoting: Any = csv.QUOTE_ALL if re.search(r"\r(?!\n)", text) else csv.QUOTE_MINIMAL
    csv.writer(out, lineterminator="\n", quoting=quoting).writerows(
        ["'" + cell if _is_formula(cell) else cell for cell in line] for line in lines)
    return out.getvalue()


def read_csv(file: Path) -> list[list[str]]:
    """The lines of a CSV file, headings first, without empty ones. Raises OSError, ValueError or csv.Error."""
    with file.open(newline="", encoding="utf-8") as opened:
        return [[cell[1:] if cell.startswith("'") and _is_formula(cell[1:]) else cell for cell in line]
                for line in csv.reader(opened) if line]


def markdown_table(lines: Iterable[Sequence[Any]], headings: Sequence[str], text_columns: int,
                   last_is_text: bool = False) -> str:
    """A table whose first columns are text, the rest numbers, but for the last one if that is text too."""
    from tabulate import tabulate

    return tabulate([list(map(_cell, line)) for line in lines], headers=list(map(_cell, headings)), tablefmt="pipe",
                    disable_numparse=True, colalign=[
                        "left" if place < text_columns or (last_is_text and place == len(headings) - 1) else "right"
                        for place in range(len(headings))])


def write_markdown(file: Path, text: str) -> None:
    """Write a Markdown file, in which nothing that a name holds is HTML. Raises RnabenchError."""
    write_text(file, without_html(text))


def without_html(text: str) -> str:
    """Markdown in which nothing is HTML."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)


def _is_formula(cell: str) -> bool:
    return FORMULA.match(cell) is not None and not HARMLESS.fullmatch(cell)


def _cell(content: Any) -> str:
    """Without what would end the cell or begin a link."""
    return " ".join(str(content).splitlines()).replace("|", r"\|").replace("](", r"]\(")
