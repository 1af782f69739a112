"""What the draws of randomised networks are worth: threat models, stochasticity share, tries, and passes spent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rnabench.report import stochasticity, threat_models, tries
from rnabench.report.passes import write_passes
from rnabench.report.record import Record
from rnabench.report.table import caption
from rnabench.report.table_files import markdown_table, write_markdown
from rnabench.report.tries import write_tries

Table = tuple[str, tuple[str, ...], list[tuple[str, ...]], str]
"""Title, headings, lines of cells, and what the columns mean."""
FIGURES = {"tries": "Accuracy against the number of tries", "passes": "Accuracy against the passes that attacks cost"}
"""What a record folder's figures show, by the names of their files."""


def tables(records: Sequence[Record]) -> list[Table]:
    """Those that have lines: none of networks that draw nothing."""
    parts = (("Threat models, accuracy %", threat_models), ("Stochasticity share", stochasticity),
             ("Accuracy by number of tries, %", tries))
    found = [(title, *part.display(records), part.LEGEND) for title, part in parts]
    return [each for each in found if each[2]]


def markdown(records: Sequence[Record], title: str) -> str:
    """The tables, each with what its columns mean."""
    parts = [f"# {title}: what the randomness is worth", caption(records) + "."]
    for name, headings, lines, legend in tables(records):
        table = markdown_table(lines, headings, len(headings))
        parts += [f"**{name}**", table, legend]
    return "\n\n".join(parts) + "\n"


def write_randomness(records: Sequence[Record], folder: Path, title: str) -> list[Path]:
    """Write randomness.md, tries.* and passes.*, as far as there is something to say."""
    written = []
    if tables(records):
        written.append(folder / "randomness.md")
        write_markdown(written[0], markdown(records, title))
    return [*written, *write_tries(records, folder, title), *write_passes(records, folder, title)]
