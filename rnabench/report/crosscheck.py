"""The tables of `rnabench crosscheck`: agreement, smallest changes, cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rnabench.report.table_files import markdown_table, write_markdown
from rnabench.runtime.files import write_text
from rnabench.settings.pixels import in_255ths

HEADINGS = ("attack", "library", "images", "clean %", "native %", "library %", "same outcome %", "same image %",
            "success native %", "success library %", "median L2 native", "median L2 library", "s/100 native",
            "s/100 library", "times faster")


def display_rows(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row per case; accuracies with their 95 % intervals."""
    shown = []
    for case in result["cases"]:
        native, library = case["native"], case["library"]
        bounded = "eps" in case["parameters"]
        shown.append((
            case["case"], library["name"], str(case["images"]), _percent(case["clean"]), _accuracy(native),
            _accuracy(library), _percent(case["same_outcomes"]), _percent(case["same_images"]) if bounded else "-",
            _percent(native["success"]), _percent(library["success"]),
            *("-" if bounded or side["median_l2"] is None else f"{side['median_l2']:.4f}"
              for side in (native, library)),
            f"{native['seconds_per_100']:.2f}", f"{library['seconds_per_100']:.2f}", f"{case['times_faster']:.2f}",
        ))
    return shown


def title(result: dict[str, Any]) -> str:
    device = result["device"]
    threads = f", {device['threads']} threads" if "threads" in device else ""
    return (f"{result['model']} on {result['dataset']}, Linf eps {in_255ths(result['eps'])}, path "
            f"{result['path'] or '(only one)'}, {device['name']}{threads}")


def write_crosscheck(result: dict[str, Any], folder: Path) -> None:
    """Write `crosscheck.json` and `crosscheck.md`."""
    write_text(folder / "crosscheck.json", json.dumps(result, indent=1) + "\n")
    table = markdown_table(display_rows(result), HEADINGS, text_columns=2)
    write_markdown(folder / "crosscheck.md", f"# Native attacks beside the libraries'\n\n{title(result)}.\n\n{table}"
                                             f"\n\n{LEGEND}\n")


LEGEND = """\
**native %**, **library %**: accuracy after the attack, on the attacked path, with 95 % intervals. **same outcome**:
both leave an image right or both do not. **same image**: no pixel differs by more than 1e-6. **success**: of the images
that were right. **median L2**: over the images that were right and that both fooled. **s/100**: seconds per 100 images,
and their ratio, measured in this one run; the libraries are called as their documentation shows."""


def _accuracy(side: dict[str, Any]) -> str:
    low, high = side["interval95"]
    return f"{_percent(side['accuracy'])} [{_percent(low)}, {_percent(high)}]"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
