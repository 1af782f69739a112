"""The table of `rnabench bench`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from rnabench.errors import InvalidValue
from rnabench.report.table_files import markdown_table, write_markdown
from rnabench.runtime.files import write_text
from rnabench.settings.documents import Unreadable, read_json

HEADINGS = ("case", "format", "ms", "fastest - slowest", "images/s", "TFLOP/s", "of a matrix product",
            "launches/gradient", "memory", "speed / textbook", "time / bn step")
FIRST = ("textbook step, bn", "training step, bn")  # what the ratios refer to


def headings(against: bool) -> tuple[str, ...]:
    return (*HEADINGS, "against") if against else HEADINGS


def display_rows(result: Mapping[str, Any], other: Mapping[str, Any] | None = None) -> list[tuple[str, ...]]:
    """One row per case: the median of its rounds. With another result, also how its time over that of the bn step
    compares with the same there: times of two machines do not compare, ratios do."""
    cases = _cases(result)
    ratios, others = _ratios(cases), _ratios(_cases(other)) if other else {}
    textbook = {case["precision"]: median(case["seconds"]) for case in cases if case["case"] == FIRST[0]}
    rows: list[tuple[str, ...]] = []
    for case in cases:
        key, times = (case["case"], case["precision"]), case["seconds"]
        middle, is_step = median(times), "step," in case["case"]
        rate = (case["flops"] or 0) / middle
        row: tuple[str, ...] = (
            case["case"], case["precision"], f"{1000 * middle:,.1f}",
            f"{1000 * min(times):,.1f} - {1000 * max(times):,.1f}" if len(times) > 1 else "-",
            f"{case['images'] / middle:,.1f}",
            f"{rate / 1e12:,.3g}" if rate else "-", f"{rate / case['matrix_rate']:.1%}" if rate else "-",
            f"{case['launches'] / case['gradients']:,.0f}" if case["launches"] else "-",
            "-" if case["peak_bytes"] is None else f"{case['peak_bytes'] / 2**30:.2f} GiB",
            f"{textbook[case['precision']] / middle:.2f}" if is_step else "-", f"{ratios[key]:.2f}",
        )
        if other:
            row += (f"{ratios[key] / others[key]:.2f} x" if key in others else "-",)
        rows.append(row)
    return rows


def _cases(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The cases in today's form; those of older results have the fastest round alone, and no arithmetic."""
    unknown = {"gradients": 1, "flops": None, "launches": None, "matrix_rate": None, "peak_bytes": None}
    return [case if isinstance(case["seconds"], list) else unknown | {
        "case": case["case"], "precision": result["recipe"]["precision"], "seconds": [case["seconds"]],
        "images": result["recipe"]["batch_size"]} for case in result["cases"]]


def _ratios(cases: list[dict[str, Any]]) -> dict[tuple[str, str], float]:
    """Time over that of the bn step of the same format, by case and format."""
    times = {(case["case"], case["precision"]): median(case["seconds"]) for case in cases}
    return {(name, precision): time / times[FIRST[1], precision] for (name, precision), time in times.items()}


def read_bench(file: Path) -> dict[str, Any]:
    """An earlier `bench.json`. Raises InvalidValue for another file."""
    try:
        result: dict[str, Any] = read_json(file)
        if not display_rows(result):
            raise ValueError("no case")
    except (Unreadable, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InvalidValue("--against", str(file), "a bench.json of `rnabench bench --out`") from error
    return result


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    """What the columns mean."""
    rates = {case["precision"]: case["matrix_rate"] for case in _cases(result)}
    if None in rates.values():
        yield f"Fastest of {result['repeats']} rounds."
        return
    yield (f"Medians of {result['repeats']} rounds, each of which runs every case once. Launches are counted where a "
           "case runs as it comes, neither compiled nor captured; memory is what its first run adds at its peak.")
    yield "A matrix product of " + ", ".join(
        f"{precision} runs at {rate / 1e12:,.3g} TFLOP/s" for precision, rate in rates.items()) + "."
    for each in result.get("refused", []):
        yield f"Not measured: {each['case']}, {each['precision']}: {each['why']}."


def write_bench(result: Mapping[str, Any], folder: Path, other: Mapping[str, Any] | None = None) -> None:
    """Write `bench.json` and `bench.md`."""
    write_text(folder / "bench.json", json.dumps(result, indent=1) + "\n")
    table = markdown_table(display_rows(result, other), headings(other is not None), text_columns=2)
    text = "\n".join(lines(result))
    write_markdown(folder / "bench.md", f"# Speed\n\n{result['title']}.\n\n{text}\n\n{table}\n")
