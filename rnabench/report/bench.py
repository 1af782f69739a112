"""The table of `rnabench bench`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from rnabench.runtime.files import write_text

HEADINGS = ("case", "ms", "images/s", "speed / textbook", "time / bn step")


def display_rows(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row per case; the ratios are of training steps only (the first two cases are what they refer to)."""
    textbook, plain = (case["seconds"] for case in result["cases"][:2])
    rows: list[tuple[str, ...]] = []
    for case in result["cases"]:
        is_step = "step," in case["case"]
        rows.append((
            case["case"], f"{1000 * case['seconds']:,.1f}", f"{case['images_per_second']:,.1f}",
            f"{textbook / case['seconds']:.2f}" if is_step else "-",
            f"{case['seconds'] / plain:.2f}" if is_step else "-",
        ))
    return rows


def write_bench(result: dict[str, Any], folder: Path) -> None:
    """Write `bench.json` and `bench.md`."""
    write_text(folder / "bench.json", json.dumps(result, indent=1) + "\n")
    table = pd.DataFrame(display_rows(result), columns=list(HEADINGS)).to_markdown(
        index=False, disable_numparse=True, colalign=("left",) + ("right",) * 4)
    settings = f"{result['title']}; fastest of {result['repeats']} rounds."
    write_text(folder / "bench.md", f"# Speed\n\n{settings}\n\n{table}\n")
