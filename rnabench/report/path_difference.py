"""Accuracy, or gradient similarity, against path difference (Figure 5 c)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rnabench.reference import published
from rnabench.report.figure import COLOURS, MARKERS, STYLES, new_figure, plain
from rnabench.report.figure import TITLE as TITLE_STYLE
from rnabench.report.study import caption, like_the_paper, with_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Path difference"
LEGEND = """\
**difference**: the number of layers in which the attacked and the predicting path choose differently. **accuracy**: the
mean over pairs of paths and images; pairs and images count as samples in the 95 % interval. **gain**: how much
higher it is than on the attacked path itself, after the same attacks on the same images. **min**, **max**: over
pairs. **share**: how often two independent draws are that far apart, as in the `paper` protocol; **expected**: the
accuracy averaged over differences with these weights. Pairs of all differences share their first paths, so one attack
serves a whole curve."""


def rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"model": curve["label"], "difference": point["difference"], "accuracy": point["accuracy"],
         "low95": point["low95"], "high95": point["high95"], "min": min(point["by_pair"]), "max": max(point["by_pair"]),
         **dict(zip(("gain", "gain_low95", "gain_high95"), point["gain"], strict=True)),
         "pairs": len(point["by_pair"]), "share": point["share"],
         "paper_percent": _paper(record, curve["label"]).get(point["difference"])}
        for curve in record["results"]["curves"] for point in curve["points"]
    ]


def tables(record: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    found = []
    for curve in record["results"]["curves"]:
        paper = _paper(record, curve["label"])
        lines = [[str(p["difference"]), with_interval(p["accuracy"], [p["low95"], p["high95"]]), _gain(p),
                  f"{100 * min(p['by_pair']):.1f}", f"{100 * max(p['by_pair']):.1f}", f"{100 * p['share']:.1f}",
                  f"{paper[p['difference']]:.1f}" if p["difference"] in paper else "-"] for p in curve["points"]]
        headings = ["difference", "accuracy % [95 %]", "gain, points [95 %]", "min", "max", "share %", "paper"]
        found.append((curve["label"], headings if paper else headings[:-1],
                      lines if paper else [line[:-1] for line in lines]))
    return found


def findings(record: dict[str, Any]) -> list[str]:
    found = []
    for curve in record["results"]["curves"]:
        first, last = curve["points"][0], curve["points"][-1]
        usual = max(curve["points"], key=lambda point: point["share"])
        start, end = (with_interval(p["accuracy"], [p["low95"], p["high95"]]) for p in (first, last))
        drawn = with_interval(curve["expected"]["accuracy"], curve["expected"]["interval95"])
        found.append(
            f"{curve['label']}: from {start} % on the attacked path itself to {end} % at difference "
            f"{last['difference']}, a gain of {_gain(last)} points; two independent draws differ most often in "
            f"{usual['difference']} of {curve['layers']} layers (gain {_gain(usual)}), and accuracy averaged as they "
            f"do is {drawn} %.")
    return found


def figures(record: dict[str, Any]) -> dict[str, Figure]:
    curves = [curve | {"points": [point | {name: 100 * point[name] for name in ("accuracy", "low95", "high95")} | {
        "by_pair": [100 * each for each in point["by_pair"]]} for point in curve["points"]]}
        for curve in record["results"]["curves"]]
    marks = [(difference, number, label) for label in (curve["label"] for curve in curves)
             for difference, number in _paper(record, label).items()]
    pairs = len(curves[0]["points"][0]["by_pair"])
    title = (f"{TITLE}: {pairs} pairs of paths each, attack on one, prediction with the other\n"
             + caption(record).replace("; ", "\n", 1))
    figure = draw_curves(curves, "accuracy", "accuracy (%)", title, marks, "min to max over pairs")
    figure.axes[0].set_ylim(bottom=0)
    return {"": figure}


def draw_curves(curves: list[dict[str, Any]], middle: str, label: str, title: str,
                marks: list[tuple[int, float, str]], band: str) -> Figure:
    """A line per curve with its band over pairs, above the distribution of differences that random drawing has."""
    figure, axes = new_figure(6.4, 4.9)
    behind = axes.twinx()
    for place, curve in enumerate(curves):
        points, colour = curve["points"], COLOURS[place % len(COLOURS)]
        x = [point["difference"] for point in points]
        y = [math.nan if point[middle] is None else point[middle] for point in points]
        axes.plot(x, y, STYLES[place % 4], marker=MARKERS[place % 7], markersize=4, color=colour, linewidth=1.6,
                  label=curve["label"])
        axes.fill_between(x, *zip(*map(between, points), strict=True), color=colour, alpha=0.15, linewidth=0,
                          label=f"{curve['label']}, {band}")
    shares = [tuple((point["difference"], point["share"]) for point in curve["points"]) for curve in curves]
    for distribution in dict.fromkeys(shares):
        behind.bar([d for d, _ in distribution], [100 * share for _, share in distribution], color="0.6", alpha=0.3,
                   width=0.8, label="how often independent draws differ so")
    behind.set_ylim(0, 100 * 3 * max(p["share"] for curve in curves for p in curve["points"]))
    behind.set_ylabel("share of independent draws (%, grey bars)", color="0.4")
    behind.spines[["top"]].set_visible(False)
    axes.set_zorder(behind.get_zorder() + 1)  # lines before bars
    axes.patch.set_visible(False)
    for difference, number, name in marks:
        axes.plot([difference], [number], "*", markersize=12, color="black",
                  label=f"{name}, published (CIFAR-10, full size)")
    axes.set_xlabel("path difference (layers in which the two paths choose differently)")
    axes.set_ylabel(label)
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain(axes)
    axes.set_title(title, **TITLE_STYLE)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def between(point: dict[str, Any]) -> tuple[float, float]:
    """The least and the largest value over pairs of paths; NaN if no pair has one."""
    known = [value for value in point["by_pair"] if value is not None] or [math.nan]
    return min(known), max(known)


def _paper(record: dict[str, Any], label: str) -> dict[int, float]:
    """Published points of Figure 5 c by difference: PGD-20's."""
    if not like_the_paper(record) or record["attack"]["name"] != "pgd20":
        return {}
    space = next(model["space"] for model in record["models"] if model["label"] == label)
    return {int(row["column"].rsplit(" ", 1)[1]): float(row["accuracy_percent"])
            for row in published("figure5c", space=space)}


def _gain(point: dict[str, Any]) -> str:
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * value for value in point["gain"]))
