"""Tables of records: CSV for machines, Markdown and screen for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rnabench.files import write_text
from rnabench.report.record import rows

HEADINGS = ("model", "attack", "protocol", "accuracy %", "95 % interval", "worst", "majority", "reported", "draws")


def display_rows(records: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """What people read, one tuple per row in the order of HEADINGS; percentages with one decimal."""
    shown: list[tuple[str, ...]] = []
    for row in rows(records):
        draws = row["draws"] if row["draws_are"] == "-" else f"{row['draws']}/{row['draws_are']}"
        single = row["draws"] == 1
        shown.append((
            row["model"], row["attack"], row["protocol"], percent(row["accuracy"]),
            f"{percent(row['low95'])} - {percent(row['high95'])}",
            "-" if single else percent(row["worst_of_draws"]),
            "-" if single else percent(row["majority"]),
            "-" if row["attack"] == "natural" else percent(row["attack_reported"]),
            str(draws),
        ))
    return shown


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def caption(records: Sequence[dict[str, Any]]) -> str:
    """The settings that all rows share, in a sentence."""
    first = records[0]
    count = len(first["data"]["indices"])
    return (f"{first['data']['name']}, {count:,} test images, {first['threat']['norm']} "
            f"eps {in_255ths(first['threat']['eps'])}, step {in_255ths(first['threat']['step_size'])}, "
            f"seed {first['evaluation']['seed']}")


def in_255ths(value: float) -> str:
    """0.0313725 as 8/255; a decimal where it is not a whole number of 255ths."""
    scaled = value * 255
    return f"{round(scaled)}/255" if abs(scaled - round(scaled)) < 1e-6 else f"{value:.4g}"


def markdown(records: Sequence[dict[str, Any]], title: str) -> str:
    """The table with its caption and what the columns mean."""
    frame = pd.DataFrame(display_rows(records), columns=list(HEADINGS))
    table = frame.to_markdown(index=False, disable_numparse=True, colalign=("left",) * 3 + ("right",) * 6)
    parts = [f"# {title}", caption(records) + ".", table, LEGEND]
    return "\n\n".join(parts) + "\n"


LEGEND = """\
**accuracy**: mean over images and path draws. **95 % interval**: counts images and draws as samples. **worst**: images
that are right on every draw. **majority**: the most frequent prediction is right. **reported**: accuracy on a path of
the attacker's own, its frozen one or, where it has none, one more draw. **draws**: how many score, and whether a draw
serves a batch or a single image (sample). **protocol**: `paper` attacks one frozen path and predicts with others;
`same-path` predicts with the attacked path; `eot:K` averages the gradient over K fresh paths at every step; `any`:
nothing is random, or nothing attacks, so all protocols agree."""


def write_tables(records: Sequence[dict[str, Any]], folder: Path, title: str) -> None:
    """Write `table.csv` and `table.md`."""
    write_text(folder / "table.csv", pd.DataFrame(rows(records)).to_csv(index=False, lineterminator="\n"))
    write_text(folder / "table.md", markdown(records, title))
