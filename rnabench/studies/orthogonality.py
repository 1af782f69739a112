"""Orthogonality and agreement of sub-networks (SORS paper, Table 1, Figure 6): paths of one network, or of several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from rnabench.errors import InvalidValue
from rnabench.report.figure import COLOURS, MARKERS, STYLES, new_figure, plain
from rnabench.report.study import caption, with_interval
from rnabench.settings.base import setting
from rnabench.settings.studies import Attacking, Record, Results, Table, study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rnabench.studies.measure.subject import Networks
    from rnabench.studies.measure.work import Work

SHARES = ("orthogonality", "agreement", "both_right", "success", "source_success")


@study
class Orthogonality(Attacking):
    """How orthogonal the input gradients of sub-networks are, how often these agree, and how attacks transfer between
    them (SORS paper, Table 1)."""

    name = "orthogonality"
    title = "Orthogonality of sub-networks"
    legend = """\
Sub-networks: a path of the source and one of the target, drawn independently; a network that does not draw has one.
**orthogonality**: 1 - |cosine| of the gradients of the cross-entropy with respect to the same image (0: parallel; an
image with a gradient of exactly zero is left out). **random directions** have the orthogonality that is called the
*floor*: gradients that know nothing of each other reach it, and it is no sign of training. **agreement**: both predict
the same class; **both right**: and it is the right one. **success**: of the images that both have right, those that the
attack on the source's sub-network makes the target's get wrong; **on the source itself**: those that it gets wrong.
Attacked images: all but success is of the images that this attack made. Intervals of 95 % count images and pairs."""

    pairs: int = setting(10, "Pairs of independently drawn paths.", "Network", strict=True, ge=2, le=1000)
    images: Literal["attacked", "clean"] = setting(
        "attacked", "Images at which gradients and predictions are compared: those that the attack makes on the first "
        "sub-network of a pair, or clean ones (nothing is attacked then).", "Attack")

    def passes(self, layers: int, models: int, classes: int) -> tuple[float, float]:
        gradients, forwards = self.attack_passes(classes) if self.images == "attacked" else (0.0, 0.0)
        return self.pairs * (gradients + 1 + models), self.pairs * (forwards + 2 + 2 * models)

    def compute(self, networks: Networks, classes: int, work: Work) -> Results:
        from rnabench.studies.measure.orthogonality import BINS, drawn_paths, orthogonality
        from rnabench.studies.measure.similarity import random_orthogonality

        if len(networks) == 1 and not networks[0][1].space.is_random:
            raise InvalidValue("RUN", networks[0][0], "a randomised network, or two networks: this one has a single "
                                                      "path")
        spec = self.spec if self.images == "attacked" else None
        dimension = next(work.source.in_order(1)).images[0].numel()
        cells = orthogonality(networks, spec, self.pairs, self.evaluation(), classes, work)
        paths = drawn_paths(networks, self.pairs, self.seed)
        return {"subjects": [{"label": label, "draws": model.space.is_random, "paths": [
            {"first": str(first), "second": str(second)} for first, second in drawn] if model.space.is_random else None}
            for (label, model), drawn in zip(networks, paths, strict=True)],
            "dimension": dimension, "floor": random_orthogonality(dimension), "bins": BINS.tolist(),
            "cells": [[cell.as_json() for cell in row] for row in cells]}

    @classmethod
    def rows(cls, record: Record) -> list[dict[str, Any]]:
        return [{"source": source, "target": target, "pairs": cell["pairs"], **{
            f"{share}{end}": number for share in SHARES
            for end, number in zip(("", "_low95", "_high95"), cell[share] or [None] * 3, strict=True)},
            "random_directions": record["results"]["floor"], "undefined": cell["undefined"]}
            for source, target, cell in _cells(record)]

    @classmethod
    def tables(cls, record: Record) -> list[Table]:
        headings = ["source -> target", "orthogonality [95 %]", "less the floor", "agreement % [95 %]", "both right %",
                    "success % [95 %]", "on the source itself %"]
        lines = [[f"{source} -> {target}", _number(cell["orthogonality"]), "-" if cell["orthogonality"] is None else
                  f"{cell['orthogonality'][0] - record['results']['floor']:+.3f}",
                  *(_percent(cell[share]) for share in SHARES[1:])] for source, target, cell in _cells(record)]
        return [(f"Pairs of sub-networks (random directions in {record['results']['dimension']:,} dimensions: "
                 f"{record['results']['floor']:.4f})", headings, lines)]

    @classmethod
    def findings(cls, record: Record) -> list[str]:
        floor, found = record["results"]["floor"], []
        draws = {subject["label"]: subject["draws"] for subject in record["results"]["subjects"]}
        for source, target, cell in _cells(record):
            if cell["orthogonality"] is None or (source == target and not draws[source]):
                continue
            _, low, high = cell["orthogonality"]
            verdict = ("not compared with the floor" if low is None
                       else "below the floor: gradients have more in common than random directions have" if high < floor
                       else "above the floor: more orthogonal than random directions are" if low > floor
                       else "not told from the floor: as orthogonal as random directions")
            who = f"two paths of {source}" if source == target else f"{source} and {target}"
            rest = (f" The attack on one fools the other on {_percent(cell['success'])} % of the images that both have "
                    "right." if cell["success"] else "")
            found.append(f"Gradients of {who}: orthogonality {_number(cell['orthogonality'])}, {verdict} ({floor:.3f})."
                         f" They agree on {_percent(cell['agreement'])} % of the images.{rest}")
        return found

    @classmethod
    def figures(cls, record: Record) -> dict[str, Figure]:
        draws = {subject["label"]: subject["draws"] for subject in record["results"]["subjects"]}
        # a network that does not draw is parallel to itself; two networks look much the same from either side
        order = list(draws)
        shown = [(source, target, cell) for source, target, cell in _cells(record) if cell["orthogonality"] is not None
                 and (draws[source] if source == target else order.index(source) < order.index(target))]
        figure, (left, right) = new_figure(11, 3.6 + 0.24 * len(shown), 1, 2)
        _cosines(left, record["results"], shown)
        _points(right, record["results"]["floor"], shown)
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
        looked = "clean images" if record["keys"]["images"] == "clean" else "images attacked on the first"
        figure.suptitle(f"{cls.title}: input gradients of two sub-networks, {looked}\n"
                        + caption(record).replace("; ", "\n", 1), fontsize=9, x=0.01, ha="left")
        return {"": figure}


Shown = list[tuple[str, str, dict[str, Any]]]


def _cosines(axes: Axes, results: dict[str, Any], shown: Shown) -> None:
    """How cosines are distributed over images and pairs."""
    edges, floor = results["bins"], results["floor"]
    for place, (source, target, cell) in enumerate(shown):
        total = max(1, sum(cell["cosines"]))
        axes.stairs([100 * count / total for count in cell["cosines"]], edges, color=COLOURS[place % len(COLOURS)],
                    linestyle=STYLES[place % len(STYLES)], linewidth=1.5, label=_between(source, target))
    axes.axvspan(floor - 1, 1 - floor, color="0.5", alpha=0.35, linewidth=0,
                 label=f"random directions: |cosine| {1 - floor:.3f} on average")
    axes.set_xlim(-1, 1)
    axes.set_xlabel("cosine of the two gradients of an image")
    axes.set_ylabel("images and pairs (%), in bins of 0.02")
    plain(axes)


def _points(axes: Axes, floor: float, shown: Shown) -> None:
    """Orthogonality with its interval, beside what random directions have."""
    for place, (_, _, cell) in enumerate(shown):
        share, low, high = cell["orthogonality"]
        colour = COLOURS[place % len(COLOURS)]
        if low is not None:
            axes.plot([low, high], [place, place], color=colour, linewidth=2)
        axes.plot([share], [place], MARKERS[place % len(MARKERS)], color=colour, markersize=6)
        axes.plot([value for value in cell["by_pair"] if value is not None],
                  [place - 0.18] * sum(value is not None for value in cell["by_pair"]), "|", color=colour, markersize=5)
    axes.axvline(floor, color="0.3", linestyle=":", linewidth=1.5)
    axes.annotate(f"random directions {floor:.3f}", (floor, 1), xytext=(-4, -4), xycoords=("data", "axes fraction"),
                  textcoords="offset points", ha="right", va="top", fontsize=8, color="0.3")
    axes.set_yticks(range(len(shown)), [_between(source, target) for source, target, _ in shown])
    axes.set_ylim(len(shown) - 0.4, -0.9)
    axes.set_xlim(right=1)
    axes.set_xlabel("orthogonality, 1 - |cosine| (bar: 95 %, ticks: single pairs)")
    plain(axes)


def _cells(record: Record) -> Shown:
    names = [subject["label"] for subject in record["results"]["subjects"]]
    return [(source, target, cell) for source, row in zip(names, record["results"]["cells"], strict=True)
            for target, cell in zip(names, row, strict=True)]


def _between(source: str, target: str) -> str:
    return f"two paths of {source}" if source == target else f"{source} and {target}"


def _number(share: list[float] | None) -> str:
    if share is None:
        return "-"
    return f"{share[0]:.3f}" if share[1] is None else "{:.3f} [{:.3f}, {:.3f}]".format(*share)


def _percent(share: list[float] | None) -> str:
    return with_interval(None, None) if share is None else with_interval(share[0], share[1:])
