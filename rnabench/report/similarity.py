"""Gradient similarity as matrix and histograms (Figure 3), or against path difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnabench.report.figure import COLOURS, heatmap, new_figure, plain
from rnabench.report.path_difference import between, draw_curves
from rnabench.report.study import caption, family, spaces

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Gradient similarity"
LEGEND = """\
Cosine similarity of the gradients of the cross-entropy with respect to the same clean image, between two networks (or
two paths of one network): mean over images, with its standard error over images (not over paths). A network that draws
is looked at on one path per group. Images on which a gradient is exactly zero have no direction and are left out."""


def rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    results = record["results"]
    if "curves" in results:
        return [{"model": curve["label"], "difference": p["difference"], "cosine": p["mean"], "error": p["error"],
                 **dict(zip(("min_over_pairs", "max_over_pairs"), between(p), strict=True)), "share": p["share"],
                 "undefined": p["undefined"]} for curve in results["curves"] for p in curve["points"]]
    names = [subject["label"] for subject in results["subjects"]]
    return [{"first": names[a], "second": names[b], "cosine": cell["mean"], "error": cell["error"],
             **dict(zip(("p05", "p25", "p50", "p75", "p95"), cell["quantiles"] or [None] * 5, strict=True)),
             "undefined": cell["undefined"]} for a, row in enumerate(results["cells"]) for b, cell in enumerate(row)]


def tables(record: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    results = record["results"]
    if "curves" in results:
        return [(curve["label"], ["difference", "mean cosine", "min over pairs", "max over pairs", "share %"],
                 [[str(p["difference"]), _mean(p), *(f"{limit:.3f}" for limit in between(p)), f"{100 * p['share']:.1f}"]
                  for p in curve["points"]]) for curve in results["curves"]]
    names = [subject["label"] for subject in results["subjects"]]
    return [("Mean cosine", ["", *names], [[names[a], *map(_mean, row)] for a, row in enumerate(results["cells"])])]


def findings(record: dict[str, Any]) -> list[str]:
    results = record["results"]
    if "curves" in results:
        ends = [(curve["label"], curve["points"][0], curve["points"][-1]) for curve in results["curves"]]
        return [f"{label}: from {_mean(first)} on the same path to {_mean(last)} at difference {last['difference']}."
                for label, first, last in ends]
    families = [family(space) for space in spaces(record)]
    groups: dict[str, list[float]] = {"within GN": [], "within BGN": [], "between the families": []}
    for a, row in enumerate(results["cells"]):
        for b, cell in enumerate(row[:a]):
            if families[a] and families[b] and cell["mean"] is not None:
                same = families[a] == families[b]
                groups[f"within {families[a]}" if same else "between the families"].append(cell["mean"])
    said = [f"{name} {min(values):.2f} to {max(values):.2f} (mean {sum(values) / len(values):.2f}, {len(values)} "
            f"pair{'s' if len(values) > 1 else ''})" for name, values in groups.items() if values]
    return ["Mean cosine between networks: " + "; ".join(said) + "."] if said else []


def figures(record: dict[str, Any]) -> dict[str, Figure]:
    results = record["results"]
    about = caption(record)
    if "curves" in results:
        return {"": draw_curves(results["curves"], "mean", "mean cosine of input gradients",
                                f"{TITLE}: cosine between input gradients on two paths\n{about}", [], "min to max")}
    families = [family(space) for space in spaces(record)]
    return {"": _matrix(results, about), "-histograms": _histograms(results, families, about)}


def _matrix(results: dict[str, Any], about: str) -> Figure:
    names = [subject["label"] for subject in results["subjects"]]
    side = 1.4 + 0.8 * len(names)
    figure, axes = new_figure(max(side + 1.2, 5.5), side + 0.6)
    heatmap(axes, [[cell["mean"] for cell in row] for row in results["cells"]],
            [["-" if cell["mean"] is None else f"{cell['mean']:.2f}" for cell in row] for row in results["cells"]],
            names, names, min(0.0, *(c["mean"] or 0.0 for row in results["cells"] for c in row)), 1,
            f"{TITLE}: mean cosine of input gradients\n" + about.replace("; ", "\n"))
    return figure


def _histograms(results: dict[str, Any], families: list[str | None], about: str) -> Figure:
    """One panel per pair, all on the same axes, as Figure 3 has them."""
    names = [subject["label"] for subject in results["subjects"]]
    pairs = [(a, b) for a in range(len(names)) for b in range(a)]
    columns = min(5, len(pairs))
    lines = -(-len(pairs) // columns)
    figure, panels = new_figure(2.2 * columns + 0.4, 1.7 * lines + 0.9, lines, columns, sharex=True, sharey=True,
                                squeeze=False)
    bins = [step / 20 for step in range(-20, 21)]
    for place, axes in enumerate(panels.flat):
        if place >= len(pairs):
            axes.set_axis_off()
            continue
        a, b = pairs[place]
        values = [value for value in results["cells"][a][b]["values"] if value is not None]
        same = families[a] is not None and families[a] == families[b]
        axes.hist(values, bins=bins, color=COLOURS[0 if same else 1], weights=[100 / max(1, len(values))] * len(values))
        mean = results["cells"][a][b]["mean"]
        if mean is not None:
            axes.axvline(mean, color="black", linewidth=1)
        axes.set_title(f"{names[b]} - {names[a]}: {0.0 if mean is None else mean:.2f}", fontsize=8)
        plain(axes)
    for axes in panels[-1]:
        axes.set_xlabel("cosine", fontsize=8)
    for axes in panels[:, 0]:
        axes.set_ylabel("images (%)", fontsize=8)
    figure.suptitle(f"{TITLE}: blue within a family (GN, BGN), orange between; line and number: mean\n{about}",
                    fontsize=9, x=0.01, ha="left")
    return figure


def _mean(point: dict[str, Any]) -> str:
    if point["mean"] is None:
        return "-"
    return f"{point['mean']:.3f}" + (f" ± {point['error']:.3f}" if point["error"] else "")
