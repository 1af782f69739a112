"""Figures of the sweeps: accuracy against the swept value, one line per model and protocol, with 95 % bands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnabench.reference import published
from rnabench.report.figure import COLOURS, MARKERS, STYLES, TITLE, new_figure, plain, save
from rnabench.report.record import Record
from rnabench.report.study import is_cifar10
from rnabench.settings.parts import unusual_parts
from rnabench.settings.pixels import in_255ths
from rnabench.settings.suites import Axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS = {"steps": "PGD steps", "eps": "eps (255ths of the pixel range)", "samples": "paths averaged per PGD step"}


@dataclass(frozen=True)
class Curve:
    """Points (swept value, accuracy %, low %, high %) of one model under one protocol, by swept value; `constant`: of a
    model that the swept value does not concern."""

    model: str
    protocol: str
    points: tuple[tuple[float, float, float, float], ...]
    constant: bool = False


def curves(records: Sequence[Record], axis: Axis, attacks: Sequence[str], protocols: Sequence[str]
          ) -> list[Curve]:
    """The lines of a sweep over `attacks` and `protocols` (names). Attacks that have no such value are left out."""
    found: dict[tuple[str, str], list[tuple[float, float, float, float]]] = {}
    for record in records:
        for result in record.results:
            protocol = result.protocol
            parameters: Mapping[str, Any] = result.parameters
            if result.attack not in attacks or protocol not in (*protocols, "any"):
                continue
            if axis == "samples":
                averaged = re.match(r"eot:(\d+)", protocol)
                value = float(averaged[1]) if averaged else 0.0 if protocol == "any" else None
                protocol = re.sub(r"^eot:\d+", "eot:K", protocol)
            else:
                value = parameters.get("steps" if axis == "steps" else "eps")
            if value is None:
                continue
            low, high = result.interval95
            families = {name.split("@")[0].rstrip("0123456789") for name in attacks}
            family = f" {result.attack.split('@')[0]}" if len(families) > 1 else ""
            found.setdefault((record.label + family, protocol), []).append(
                (255 * value if axis == "eps" else float(value), 100 * result.accuracy, 100 * low, 100 * high))
    return [Curve(model, protocol, tuple(sorted(points)), constant=axis == "samples" and protocol == "any")
            for (model, protocol), points in found.items()]


def write_sweeps(records: Sequence[Record], folder: Path, title: str) -> list[Path]:
    """Draw every sweep that the last record's suites name (a baseline comes first): <suite>.png and <suite>.svg."""
    from rnabench.settings.evaluation import EvaluationSettings

    written, last = [], records[-1]
    keys = EvaluationSettings.model_validate(last.evaluation.content())
    for name, suite in keys.chosen:
        if suite.axis is not None:
            attacks = sorted({attack.name for attack in keys.attacks_of(suite)})
            drawn = curves(records, suite.axis, attacks, keys.protocols or suite.protocols)
            if any(line.points for line in drawn):
                written += _draw(drawn, suite.axis, folder / name, f"{title}\n{_settings(last, suite.axis, attacks)}",
                                 published_points(records, suite.axis))
    return written


def published_points(records: Sequence[Record], axis: Axis) -> list[tuple[str, float, float]]:
    """(model, swept value, accuracy %) that Figure 5 a or b states for these networks: ResNet-18, CIFAR-10, Linf, PGD;
    a at 8/255 and b with 20 steps, if these are swept so, too."""
    found = []
    for record in records:
        model, threat = record.model, record.threat
        if not is_cifar10(record.data.name) or model.arch != "resnet18" or threat.norm != "Linf" or model.deployed:
            continue
        if unusual_parts(dict(model)):
            continue
        kept = {(result.parameters.get("steps"), round(255 * result.parameters.get("eps", 0), 6))
                for result in record.results if result.parameters.get("kind") == "pgd"}
        for row in published({"steps": "figure5a", "eps": "figure5b"}.get(axis, ""), space=str(model.space)):
            if match := re.fullmatch(r"pgd(\d+)(?: eps (\d+)/255)?", row["column"]):
                steps, eps = int(match[1]), float(match[2] or 8)
                if (steps, eps) in kept:
                    found.append((model.label, steps if axis == "steps" else eps, float(row["accuracy_percent"])))
    return found


def _settings(record: Record, axis: Axis, attacks: Sequence[str]) -> str:
    parts = [record.data.name, f"{len(record.data.indices):,} images", record.threat.norm]
    eps = record.threat.eps
    if axis != "eps":
        parts.append(f"eps {in_255ths(eps) if record.threat.norm == 'Linf' else format(eps, '.4g')}")
    if axis != "steps":
        parts.append("/".join(sorted({name.split("@")[0] for name in attacks})))
    return ", ".join(parts) + "; bands: 95 %"


def _draw(drawn: Sequence[Curve], axis: Axis, stem: Path, title: str, marks: Sequence[tuple[str, float, float]]
          ) -> list[Path]:
    figure, axes = new_figure(6.4, 4.2)
    models = list(dict.fromkeys(line.model for line in drawn))
    protocols = list(dict.fromkeys(line.protocol for line in drawn))
    values = sorted({point[0] for line in drawn for point in line.points if not line.constant})
    for line in drawn:
        colour = COLOURS[models.index(line.model) % len(COLOURS)]
        place = protocols.index(line.protocol)
        _line(axes, line, colour, STYLES[place % len(STYLES)], MARKERS[place % len(MARKERS)], values)
    for model in dict.fromkeys(mark[0] for mark in marks):
        axes.plot(*zip(*[mark[1:] for mark in marks if mark[0] == model], strict=True), "*", markersize=11,
                  color=COLOURS[models.index(model) % len(COLOURS)] if model in models else "black",
                  markeredgecolor="black", label=f"{model}, published (CIFAR-10, full size)")
    axes.set_xlabel(LABELS[axis])
    axes.set_ylabel("accuracy (%)")
    axes.set_ylim(0, 100)
    axes.set_xticks(values, [f"{value:g}" for value in values])
    if axis == "eps":  # many small values close together
        axes.tick_params(axis="x", labelsize=8)
    plain(axes)
    axes.set_title(title, **TITLE)
    axes.legend(fontsize=8, frameon=False)
    return save(figure, stem)


def _line(axes: Axes, line: Curve, colour: str, style: str, marker: str, values: Sequence[float]) -> None:
    label = line.model if line.protocol == "any" else f"{line.model}, {line.protocol}"
    points = line.points
    if line.constant and values:
        points = tuple((value, *points[0][1:]) for value in (values[0], values[-1]))
        marker = ""
    x, middle, low, high = zip(*points, strict=True)
    axes.plot(x, middle, style, color=colour, marker=marker, markersize=4, linewidth=1.5, label=label)
    axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
