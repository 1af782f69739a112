"""The record of `rnabench dense`, and what is drawn from it: tables, sentences and the curve of active targets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from rnabench.errors import RnabenchError
from rnabench.report.figure import COLOURS, STYLES, TITLE, new_figure, save
from rnabench.report.stored import pack, unpack
from rnabench.report.table_files import csv_text, markdown_table, write_markdown
from rnabench.runtime.files import write_text
from rnabench.settings.documents import Unreadable, read_json

DENSE_FORMAT = 1
NOTHING = "none"  # the source of images as they are
CELLS = ("source", "network", "measure", "percent", "low95", "high95", "permuted_percent")
HEADINGS = ("attacked network", "targets", "steps", "not done %", "L_inf x 255", "p x 1000")


def write_dense_record(record: Mapping[str, Any], file: Path) -> None:
    """Long lists packed."""
    content = {name: pack(value) if name == "attacks" else value for name, value in record.items()}
    write_text(file, json.dumps(content, separators=(",", ":")) + "\n")


def read_dense(file: Path) -> dict[str, Any]:
    """A record, all lists unpacked. Raises RnabenchError for a file that is none, or is damaged."""
    try:
        record = read_json(file)
        if record["dense"] != DENSE_FORMAT:
            raise RnabenchError(f"record: {str(file)!r} has format {record['dense']!r}; expected {DENSE_FORMAT}: run "
                                "the same command with --no-resume or another --out")
        record |= {"attacks": unpack(record["attacks"])}
        _parts(record)
    except (Unreadable, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise RnabenchError(f"record: {str(file)!r} cannot be read ({_reason(error)}); expected JSON written by "
                            "`rnabench dense`") from None
    return dict(record)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, Unreadable) else type(error).__name__


def write_dense(record: dict[str, Any], stem: Path) -> list[Path]:
    """Write <stem>.csv, <stem>.md, <stem>.png and <stem>.svg."""
    files = [stem.with_name(stem.name + ending) for ending in (".csv", ".md")]
    write_text(files[0], csv_text(cells(record), list(CELLS)))
    write_markdown(files[1], markdown(record))
    return [*files, *save(_figure(record), stem)]


def cells(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A line per source of changes and network that is shown the images: its score in percent, its 95 % interval over
    images (where there is one), and its score with the changes permuted."""
    return [{"source": cell["source"], "network": cell["network"], "measure": cell["measure"],
             "percent": 100 * cell["value"],
             **{name: None if cell[name] is None else 100 * cell[name] for name in ("low95", "high95")},
             "permuted_percent": None if cell["permuted"] is None else 100 * cell["permuted"]}
            for cell in record["cells"]]


def tables(record: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, headings and lines of cells: the scores, a column per network, and what the attacks did."""
    return [_scores(record), ("Changes", list(HEADINGS), list(_changes(record)))]


def _scores(record: Mapping[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    networks = {cell["network"]: cell["measure"] for cell in record["cells"]}
    lines: dict[str, list[str]] = {}
    for cell in cells(record):
        interval = "" if cell["low95"] is None else f" [{cell['low95']:.1f}, {cell['high95']:.1f}]"
        control = "" if cell["permuted_percent"] is None else f" ({cell['permuted_percent']:.1f})"
        lines.setdefault(cell["source"], [cell["source"]]).append(f"{cell['percent']:.1f}{interval}{control}")
    return ("Scores (with the change permuted)",
            ["change of", *(f"{name}, {measure} %" for name, measure in networks.items())], list(lines.values()))


def _changes(record: Mapping[str, Any]) -> Iterator[list[str]]:
    for label, attack in record["attacks"].items():
        steps = [len(active) - 1 for active in attack["active"]]
        left = [active[-1] > 0 for active in attack["active"]]
        yield [label, f"{fmean(attack['targets']):,.0f}", f"{fmean(steps):.1f}", f"{100 * fmean(left):.1f}",
               f"{255 * fmean(attack['linf']):.2f}", f"{1000 * fmean(attack['perceptibility']):.2f}"]


def findings(record: Mapping[str, Any]) -> list[str]:
    """What the numbers say of each attacked network, a sentence each."""
    by_place = {(cell["source"], cell["network"]): cell for cell in cells(record)}
    said = []
    for label in record["attacks"]:
        clean, own = by_place[NOTHING, label], by_place[label, label]
        said.append(f"{label}: {own['measure']} {clean['percent']:.1f} % as it is, {own['percent']:.1f} % under its "
                    f"own change, {own['permuted_percent']:.1f} % with that change permuted.")
    return said


def heading(record: Mapping[str, Any]) -> str:
    """What was measured, of what."""
    settings, data = record["settings"], record["data"]
    steps = "200 (segmentation) or 150 (detection)" if settings["steps"] is None else settings["steps"]
    return (f"Dense Adversary Generation: {data['name']}, {data['images']} images, {settings['classes']} classes, "
            f"gamma {255 * settings['gamma']:g}/255, at most {steps} steps, seed {settings['seed']}")


def markdown(record: Mapping[str, Any]) -> str:
    """Findings, tables, and what the columns mean."""
    parts = [f"# {heading(record)}", *findings(record)]
    for title, headings, lines in tables(record):
        parts += [f"**{title}**", markdown_table(lines, headings, text_columns=1)]
    return "\n\n".join([*parts, LEGEND]) + "\n"


LEGEND = """\
**change of**: the network on which the change r of each image was made; `none`: images as they are; several joined by
+: their changes summed. mIoU is over all pixels of all images (a class that is neither there nor predicted does not
count), with a 95 % interval of images drawn again; mAP is at an IoU of 0.5 by COCO's interpolation. **(permuted)**: the
mean over draws of the score with r's rows and columns in random orders. **targets**: pixels of objects, or proposals
near them that are taken for them, per image; the background is left alone. **not done**: images with a target that is
still correct after all steps. **L_inf**: the largest change of a pixel. **p**: perceptibility, the root of the mean
over pixels of |r_k|^2, intensities in [0, 1]. All are means over images."""


def _figure(record: Mapping[str, Any]) -> Any:
    """The mean number of targets that are still correct, by step."""
    figure, axes = new_figure(5, 3.2)
    for number, (label, attack) in enumerate(record["attacks"].items()):
        longest = max(map(len, attack["active"]))
        curves = [active + [active[-1]] * (longest - len(active)) for active in attack["active"]]
        axes.plot([fmean(column) for column in zip(*curves, strict=True)], label=label,
                  color=COLOURS[number % len(COLOURS)], linestyle=STYLES[number % len(STYLES)])
    axes.set_title("Targets that are still correct, mean over images", **TITLE)
    axes.set_xlabel("step")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _parts(record: Mapping[str, Any]) -> None:
    """Raises LookupError, TypeError or ValueError for a record that lacks what is drawn from it."""
    cells(record), findings(record), heading(record), list(_changes(record))
