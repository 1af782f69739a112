"""Accuracy against the number of tries, as table and figure: where a table's column `worst` has the last point only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnabench.report.figure import COLOURS, MARKERS, STYLES, TITLE, new_figure, plain, save
from rnabench.report.methods import Method, methods
from rnabench.report.record import Record, Result
from rnabench.report.scores import averaging
from rnabench.report.strongest import at_eps, strongest, under_paper
from rnabench.report.study import with_interval
from rnabench.report.table_files import csv_text
from rnabench.runtime.files import write_text
from rnabench.scoring.tries import by_tries

SHOWN = (1, 2, 5, 10, 20, 50, 100)  # tries that have a column
LEGEND = """\
**tries**: the share of images that are right on all of t fresh draws, which is what an attacker leaves who may ask t
times; exact means over all choices of t of the draws that score, with 95 % intervals that count images and draws."""


def rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """A row for each number of tries, of every result that was scored on several draws."""
    return [{"model": record.label, "attack": result.attack, "protocol": result.protocol, "tries": each.number,
             "accuracy": each.accuracy, "low95": each.interval[0], "high95": each.interval[1],
             "images": result.images, "draws_are": result.draws_are, "unreliable": result.unreliable}
            for record in records for result in record.results if result.draws > 1
            for each in by_tries(record.outcome(result))]


def display(records: Sequence[Record]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headings, and a line per model, bounded attack and protocol: percentages with their intervals; no line where
    nothing is drawn."""
    drawn = [(record, result) for record in records for result in at_eps(record) if result.draws > 1]
    most = max((result.draws for _, result in drawn), default=1)
    numbers = [number for number in dict.fromkeys((*SHOWN, most)) if number <= most]
    lines = []
    for record, result in drawn:
        found = {each.number: each for each in by_tries(record.outcome(result))}
        mark = "!" if result.unreliable else ""
        lines.append((record.label, result.attack, result.protocol, *(
            with_interval(found[number].accuracy, list(found[number].interval)) + mark if number in found else "-"
            for number in sorted(numbers))))
    tries = [f"{number} {'try' if number == 1 else 'tries'}" for number in sorted(numbers)]
    return ("model", "attack", "protocol", *tries), lines


def write_tries(records: Sequence[Record], folder: Path, title: str) -> list[Path]:
    """Write tries.csv, tries.png and tries.svg, if any of the networks was scored on several draws."""
    table = rows(records)
    if not table:
        return []
    file = folder / "tries.csv"
    write_text(file, csv_text(table))
    return [file, *_draw(records, folder / "tries", title)]


@dataclass(frozen=True)
class Curve:
    """A line of the figure: shares by number of tries, from 1 on, and the `band` around them. Of a network that draws
    nothing there is one share, whatever the number."""

    label: str
    method: str
    attack: str
    is_adaptive: bool
    shares: tuple[float, ...]
    band: tuple[tuple[float, float], ...]


def curves(records: Sequence[Record]) -> list[Curve]:
    """Of every randomised method the strongest attack on one frozen path, and the strongest that averages (each the
    strongest on its first training); and its deterministic baseline. Several trainings of a method share a line: the
    mean, with a band from the lowest to the highest; else the band is the 95 % interval."""
    found, among = [], methods(records)
    drawn = [method for method in among if any(result.draws > 1 for result in at_eps(method.records[0]))]
    baselines = {record.baseline.digest for method in drawn for record in method.records if record.baseline}
    for method in among:
        first = method.records[0]
        if method in drawn:
            frozen = strongest(first, under_paper(first))
            found += [_curve(method, result) for result in (frozen, strongest(first, averaging(first))) if result]
        elif first.digest in baselines and (result := strongest(first, averaging(first))):
            found.append(_curve(method, result))
    return found


def _curve(method: Method, chosen: Result) -> Curve:
    same = [(record, result) for record in method.records for result in at_eps(record)
            if (result.attack, result.protocol) == (chosen.attack, chosen.protocol)]
    by_training = [by_tries(record.outcome(result)) for record, result in same]
    together = list(zip(*by_training, strict=False))
    shares = tuple(float(np.mean([each.accuracy for each in trainings])) for trainings in together)
    band = tuple(trainings[0].interval if len(same) == 1 else
                 (min(each.accuracy for each in trainings), max(each.accuracy for each in trainings))
                 for trainings in together)
    what = chosen.attack if chosen.protocol == "any" else f"{chosen.attack} / {chosen.protocol}"
    return Curve(f"{method.title}, {what}", method.name, chosen.attack, chosen.protocol != "paper", shares, band)


def _draw(records: Sequence[Record], stem: Path, title: str) -> list[Path]:
    lines = curves(records)
    if not lines:
        return []
    figure, axes = new_figure(6.8, 4.2 + 0.17 * max(0, len(lines) // 2 - 6))  # the legend has two columns
    most = max(len(line.shares) for line in lines)
    drawn = list(dict.fromkeys(line.method for line in lines if len(line.shares) > 1))
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(drawn)}
    # other markers when colours come again
    markers = {name: MARKERS[2 * (place // len(COLOURS)) % 6:] for place, name in enumerate(drawn)}
    for line in lines:
        if len(line.shares) == 1:  # no try helps against what draws nothing
            axes.plot([1, most], [100 * line.shares[0]] * 2, ":", color="0.35", linewidth=1.5,
                      label=f"{line.label} (nothing is drawn)")
            continue
        x, colour = range(1, len(line.shares) + 1), colours[line.method]
        axes.plot(x, [100 * share for share in line.shares], STYLES[not line.is_adaptive], color=colour, linewidth=1.5,
                  marker=markers[line.method][line.is_adaptive], markersize=3.5, label=line.label)
        low, high = zip(*line.band, strict=True)
        axes.fill_between(x, [100 * each for each in low], [100 * each for each in high], color=colour, alpha=0.12,
                          linewidth=0)
    axes.set_xscale("log")
    axes.set_xticks([], minor=True)
    ticks = [number for number in SHOWN if number <= most]
    axes.set_xticks(ticks, [str(number) for number in ticks])
    axes.set_xlabel("tries: fresh draws that all have to be right")
    axes.set_ylabel("accuracy (%)")
    axes.set_ylim(bottom=0)
    plain(axes)
    several = any(len(method.records) > 1 for method in methods(records))
    bands = "95 % (several trainings: their range)" if several else "95 %"
    axes.set_title(f"{title}\naccuracy against the number of tries; bands: {bands}", **TITLE)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return save(figure, stem)
