"""Batch size (RobustNorm paper, Figure 7): accuracy, clean and attacked, by the number of images that are evaluated
together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator

from rnabench.report.figure import COLOURS, MARKERS, TITLE, new_figure, plain
from rnabench.report.study import caption, with_interval
from rnabench.settings.base import Draws, described, setting
from rnabench.settings.pixels import WrittenBy
from rnabench.settings.studies import Attacking, Record, Results, Table, study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rnabench.studies.measure.subject import Networks
    from rnabench.studies.measure.work import Work

Statistics = Literal["own", "running", "running-mean", "batch"]


def _listed(value: Any) -> Any:
    """`1,2,4` as a list."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _sizes(value: Any) -> Any:
    parts = [int(part) if re.fullmatch(r"\d{1,5}", str(part)) else part for part in _listed(value)] if isinstance(
        value, str | list | tuple) else value
    whole = isinstance(parts, list) and parts and all(isinstance(part, int) and not isinstance(part, bool)
                                                      for part in parts)
    if not whole or sorted(set(parts)) != parts or parts[0] < 1:
        raise ValueError("expected growing numbers of images, such as 1,8,128")
    return parts


def _different(value: Any) -> Any:
    names = _listed(value)
    if not isinstance(names, list | tuple) or not names or len(set(map(str, names))) < len(names):
        raise ValueError("expected different ones of own, running, running-mean, batch, such as running,batch")
    return names


WRITTEN = WrittenBy(lambda values: ",".join(map(str, values)))
Sizes = Annotated[tuple[int, ...], BeforeValidator(_sizes), WRITTEN, described(
    "Numbers of images per batch, comma-separated.", "Attack")]
Sources = Annotated[tuple[Statistics, ...], BeforeValidator(_different), WRITTEN, described(
    "Statistics at inference, comma-separated: running; batch; running-mean (other statistics of the batch); own (the "
    "network's). A network that keeps no running statistics is evaluated with its own.", "Attack")]


@study
class BatchSize(Attacking):
    """Accuracy on clean and attacked images by the number of images that are evaluated together (RobustNorm paper,
    Figure 7)."""

    name = "batch-size"
    title = "Batch size"
    accuracy_by = ("model", "statistics", "images", "size")
    legend = """\
**size**: so many images are attacked, and predicted, together. **statistics**: what normalisers that keep running
statistics take at inference, for the attack too unless it is said otherwise: *running* ones, those of the *batch*, the
*running-mean* beside other statistics of the batch, or the network's *own*. **change**: from the largest size, on the
same images. Intervals of 95 %: images count as samples, with the batches (where predictions depend on them, and there
are at least 8) or the groups that share a draw of a path. A randomised network is attacked on one path and predicts on
fresh ones (`paper`). A dash: the network cannot run at that size; the findings say why."""

    attack: str | dict[str, Any] = setting("pgd20", "Attack by name, as in `rnabench attack --list`.", "Attack")
    sizes: Sizes = (1, 2, 4, 8, 16, 32, 64, 128)
    modes: Sources = ("running", "running-mean", "batch")
    attack_mode: Statistics | None = setting(None, "Statistics that the attack is made with.", "Attack",
                                             "those evaluated")
    draws: Draws = 20
    batch_size: int = setting(128, "Images between two points at which the study can be stopped; --sizes says how many "
                              "are evaluated together.", "Run", strict=True, ge=1, le=65536)

    def passes(self, layers: int, models: int, classes: int) -> tuple[float, float]:
        gradients, forwards = self.attack_passes(classes)
        points = len(self.sizes) * len(self.modes)
        return points * gradients, points * (forwards + 2)

    def compute(self, networks: Networks, classes: int, work: Work) -> Results:
        from rnabench.studies.measure.batch_size import by_batch_size, statistics_of

        keys = self.evaluation(draws=self.draws)
        return {"curves": [
            {"label": label, "statistics": statistics, "points": by_batch_size(
                label, model, statistics, statistics if statistics == "own" else self.attack_mode or statistics,
                self.sizes, self.spec, keys, classes, work)}
            for label, model in networks for statistics in statistics_of(model, self.modes)]}

    @classmethod
    def rows(cls, record: Record) -> list[dict[str, Any]]:
        rows = []
        for curve in record["results"]["curves"]:
            for point in curve["points"]:
                for images in ("clean", "attacked"):
                    found = point.get(images) or {"accuracy": None, "interval95": [None] * 2, "change": None}
                    rows.append({
                        "model": curve["label"], "statistics": curve["statistics"], "images": images,
                        "size": point["size"], "accuracy": found["accuracy"],
                        **dict(zip(("low95", "high95"), found["interval95"], strict=True)),
                        **dict(zip(("change", "change_low95", "change_high95"), found["change"] or [None] * 3,
                                   strict=True)), "reason": point["reason"]})
        return rows

    @classmethod
    def tables(cls, record: Record) -> list[Table]:
        return [(f"{_name(curve)}", ["size", "clean % [95 %]", "change, points [95 %]", "attacked % [95 %]",
                                     "change, points [95 %]"],
                 [[str(point["size"]), *(text for images in ("clean", "attacked") for text in _cells(point, images))]
                  for point in curve["points"]]) for curve in record["results"]["curves"]]

    @classmethod
    def findings(cls, record: Record) -> list[str]:
        found = []
        for curve in record["results"]["curves"]:
            ran = [point for point in curve["points"] if point["reason"] is None]
            if len(ran) > 1:
                sides = [f"{_cells(ran[0], images)[0]} % of {images} images ({_cells(ran[0], images)[1]} points from "
                         f"batches of {ran[-1]['size']})" for images in ("clean", "attacked")]
                found.append(f"{_name(curve)}: in batches of {ran[0]['size']} right on {' and '.join(sides)}.")
            found += [f"{_name(curve)}: not in batches of {point['size']} ({point['reason']})."
                      for point in curve["points"] if point["reason"] is not None]
        return found

    @classmethod
    def figures(cls, record: Record) -> dict[str, Figure]:
        figure, axes = new_figure(7, 5)
        curves = record["results"]["curves"]
        for place, curve in enumerate(curves):
            colour, points = COLOURS[place % len(COLOURS)], [p for p in curve["points"] if p["reason"] is None]
            for images, style in (("clean", "--"), ("attacked", "-")):
                x = [point["size"] for point in points]
                limits = [[100 * limit for limit in point[images]["interval95"]] for point in points]
                axes.plot(x, [100 * point[images]["accuracy"] for point in points], style, color=colour,
                          marker=MARKERS[place % len(MARKERS)], markersize=4.5, linewidth=1.6,
                          label=f"{_name(curve)}, {images}")
                axes.fill_between(x, [low for low, _ in limits], [high for _, high in limits], color=colour, alpha=0.1,
                                  linewidth=0)
        sizes = [point["size"] for point in curves[0]["points"]]
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set_xlabel("images per batch")
        axes.set_ylabel("accuracy (%)")
        axes.set_ylim(0, 100)
        plain(axes)
        axes.set_title(f"{cls.title}: accuracy by images per batch (bands: 95 %)\n"
                       + caption(record).replace("; ", "\n", 1), **TITLE)
        figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False,
                      handlelength=4)
        return {"": figure}


def _name(curve: dict[str, Any]) -> str:
    return f"{curve['label']}, {curve['statistics']} statistics"


def _cells(point: dict[str, Any], images: str) -> list[str]:
    if point["reason"] is not None:
        return ["-", "-"]
    found = point[images]
    change = "-" if found["change"] is None else "{:+.1f} [{:+.1f}, {:+.1f}]".format(
        *(100 * value for value in found["change"]))
    return [with_interval(found["accuracy"], found["interval95"]), change]
