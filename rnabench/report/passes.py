"""All attacks of a record on one axis: accuracy against the forward and backward passes that they cost per image.

These are what an attack plans, by its parameters: it may end early, and scoring comes on top.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnabench.report.figure import COLOURS, MARKERS, TITLE, logarithmic, new_figure, plain, save
from rnabench.report.methods import methods
from rnabench.report.record import Record
from rnabench.report.strongest import at_eps
from rnabench.report.table_files import csv_text
from rnabench.runtime.files import write_text
from rnabench.scoring.flag import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

@dataclass(frozen=True)
class Point:
    """An attack under a protocol: gradients and looks at the outputs per image, and what it leaves on `images`."""

    attack: str
    protocol: str
    gradients: float
    forwards: float
    accuracy: float
    interval: tuple[float, float]
    images: int
    unreliable: bool

    @property
    def passes(self) -> float:
        """Forward and backward passes: a gradient is one of each."""
        return 2 * self.gradients + self.forwards

    @property
    def name(self) -> str:
        return self.attack if self.protocol == "any" else f"{self.attack} / {self.protocol}"


def points(record: Record) -> list[Point]:
    """Of all bounded attacks at the evaluation's eps that were made on this network, on the images that all of them
    saw, by passes; those of a package that is not installed are left out."""
    there = [(result, row) for result in at_eps(record)
             if (row := Row(record.outcome(result), result.parameters)).attack is not None]
    shared, found = min((result.images for result, _ in there), default=0), []
    for result, row in there:
        assert row.attack is not None
        samples = row.samples if record.model.randomised else 0
        gradients, forwards = row.attack.passes_of(samples, len(record.data.classes))
        outcome = row.outcome.first(shared)
        found.append(Point(result.attack, result.protocol, gradients, forwards, outcome.accuracy, outcome.interval,
                           shared, result.unreliable))
    return sorted(found, key=lambda point: (point.passes, point.name))


def frontier(of: Sequence[Point]) -> list[Point]:
    """The attacks that leave less than every cheaper one, by passes; of attackers who do not know the draw that
    predicts, where there are such (`same-path` is the same attack, told more, and costs no more for it)."""
    best: list[Point] = []
    unaware = [point for point in of if point.protocol != "same-path"]
    for point in sorted(unaware or of, key=lambda point: (point.passes, point.accuracy)):
        if not best or point.accuracy < best[-1].accuracy:
            best.append(point)
    return best


def rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """A row per model, attack and protocol."""
    return [{"model": record.label, "attack": point.attack, "protocol": point.protocol, "passes": point.passes,
             "gradients": point.gradients, "forwards": point.forwards, "accuracy": point.accuracy,
             "low95": point.interval[0], "high95": point.interval[1], "images": point.images,
             "unreliable": point.unreliable} for record in records for point in points(record)]


def write_passes(records: Sequence[Record], folder: Path, title: str) -> list[Path]:
    """Write passes.csv, passes.png and passes.svg, if any network met several attacks of different cost."""
    among = [(method.title, points(method.records[0])) for method in methods(records)]
    panels = [(name, found) for name, found in among if len({point.passes for point in found}) > 1]
    if not panels:
        return []
    file = folder / "passes.csv"
    write_text(file, csv_text(rows(records)))
    return [file, *_draw(panels, folder / "passes", title)]


def _draw(panels: Sequence[tuple[str, list[Point]]], stem: Path, title: str) -> list[Path]:
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    figure, grid = new_figure(1.2 + 3.6 * columns, 1.0 + 3.0 * lines, lines, columns, squeeze=False, sharey=True,
                              sharex=True)
    attacks = list(dict.fromkeys(point.attack for _, found in panels for point in found))
    protocols = sorted({point.protocol for _, found in panels for point in found})
    cost = [point.passes for _, found in panels for point in found]
    logarithmic(grid[0, 0], min(cost), max(cost))  # the panels share their axes
    for axes, (name, found) in zip(grid.flat, panels, strict=False):
        _panel(axes, found, attacks, protocols)
        said = f"{name}: its first" if name.endswith("trainings)") else name
        axes.set_title(f"{said}, {found[0].images:,} images", **TITLE)
    for axes in grid.flat[len(panels):]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("accuracy (%)")
        axes.set_ylim(bottom=0)
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], marker="s", linestyle="", label=attack, **_colour(place))
               for place, attack in enumerate(attacks)]
    handles += [Line2D([], [], color="0.4", marker=MARKERS[place % len(MARKERS)], linestyle="",
                       label=protocol if protocol != "any" else "any (nothing is drawn)")
                for place, protocol in enumerate(protocols)]
    figure.legend(handles=handles, loc="outside right upper", fontsize=7, frameon=False)
    figure.supxlabel("forward and backward passes per image", fontsize=9)
    figure.suptitle(f"{title}\naccuracy against what attacks cost; grey: the least for so many passes, the draw "
                    "unknown; bars: 95 %", fontsize=9, x=0.01, ha="left")
    return save(figure, stem)


def _panel(axes: Axes, found: Sequence[Point], attacks: Sequence[str], protocols: Sequence[str]) -> None:
    best = frontier(found)
    ends = [*best, best[-1]]
    axes.step([*(point.passes for point in best), max(point.passes for point in found)],
              [100 * point.accuracy for point in ends], where="post", color="0.6", linewidth=1)
    for point in found:
        low, high = point.interval
        axes.errorbar(point.passes, 100 * point.accuracy,
                      [[100 * (point.accuracy - low)], [100 * (high - point.accuracy)]], markersize=5, alpha=0.85,
                      elinewidth=0.7, marker=MARKERS[protocols.index(point.protocol) % len(MARKERS)],
                      **_colour(attacks.index(point.attack)))
    plain(axes)


def _colour(place: int) -> dict[str, Any]:
    """Of the attack at that place; where there are more attacks than colours, the next ones are hollow."""
    return {"color": COLOURS[place % len(COLOURS)], **({"markerfacecolor": "white"} if place >= len(COLOURS) else {})}
