"""Gradient similarity (Figure 3): cosines between the input gradients of networks, as matrix and histograms, or of two
paths of one network, against path difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import StrictBool, ValidationInfo, field_validator

from rnabench.errors import InvalidValue
from rnabench.report.figure import COLOURS, between, curves_by_difference, heatmap, new_figure, plain
from rnabench.report.study import caption, family, spaces
from rnabench.settings.base import setting
from rnabench.settings.studies import Record, Results, Splitting, Table, study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rnabench.studies.measure.subject import Networks
    from rnabench.studies.measure.work import Work


@study
class GradientSimilarity(Splitting):
    """Cosines between the input gradients of networks, or of the paths of one (Figure 3)."""

    name = "gradient-similarity"
    title = "Gradient similarity"
    legend = """\
Cosine similarity of the gradients of the cross-entropy with respect to the same clean image, between two networks (or
two paths of one network): mean over images, with its standard error over images (not over paths). A network that draws
is looked at on one path per group. Images on which a gradient is exactly zero have no direction and are left out."""

    unused: ClassVar[tuple[str, ...]] = ("norm", "eps", "step_size")
    by_difference: StrictBool = setting(False, "Between pairs of paths of each network, by path difference, instead of "
                                        "between networks.", "Network")
    pairs: int = setting(10, "Pairs of paths at every difference.", "Network", strict=True, ge=2, le=1000)

    @field_validator("by_difference")
    @classmethod
    def _whole(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("paths") != "deployed":
            raise ValueError("expected paths 'deployed' with it: it draws pairs of paths of the whole network")
        return value

    @property
    def of_paths(self) -> bool:
        return self.by_difference

    def misfits(self, options: Mapping[str, int]) -> Iterator[str]:
        yield from super().misfits(options) if self.by_difference else self.too_few(options)

    def passes(self, layers: int, models: int, classes: int) -> tuple[float, float]:
        return (2.0 * self.pairs * layers, 0.0) if self.by_difference else (1.0, 0.0)

    def compute(self, networks: Networks, classes: int, work: Work) -> Results:
        return self._of_paths(networks, work) if self.by_difference else self._of_networks(networks, work)

    def _of_networks(self, networks: Networks, work: Work) -> Results:
        from rnabench.studies.measure.similarity import between_networks
        from rnabench.studies.measure.subject import described, subjects
        from rnabench.studies.measure.work import short, spread

        chosen = subjects(networks, self.paths, self.seed)
        if len(chosen) < 2:
            raise InvalidValue("RUN", chosen[0].label, "at least two networks, --paths, or --by-difference")
        cosines = between_networks(chosen, self.seed, work)
        cells = [[spread(cosines[:, a, b]) | {"values": short(cosines[:, a, b]) if a > b else None}
                  for b in range(len(chosen))] for a in range(len(chosen))]
        return {"subjects": [described(subject) for subject in chosen], "cells": cells}

    def _of_paths(self, networks: Networks, work: Work) -> Results:
        from rnabench.studies.measure.path_difference import drawn_pairs, path_pairs
        from rnabench.studies.measure.similarity import by_difference
        from rnabench.studies.measure.subject import subjects
        from rnabench.studies.measure.work import short, spread

        chosen = subjects(networks, "deployed", self.seed)
        for subject in chosen:
            path_pairs(subject, 1, self.seed)  # fails for a network that does not draw before any work is done
        curves = []
        for subject in chosen:
            cosines, space = by_difference(subject, self.pairs, self.seed, work), subject.paths
            points = [spread(cosines[:, :, place]) | {
                "difference": d, "share": space.difference_shares[d],
                "by_pair": [spread(cosines[:, pair, place])["mean"] for pair in range(self.pairs)],
                "values": [short(cosines[:, pair, place]) for pair in range(self.pairs)],
            } for place, d in enumerate(space.differences)]
            curves.append({"label": subject.label, "layers": len(space.layers), "points": points,
                           "paths": drawn_pairs(subject, self.pairs, self.seed)})
        return {"curves": curves}

    @classmethod
    def rows(cls, record: Record) -> list[dict[str, Any]]:
        results = record["results"]
        if "curves" in results:
            return [{"model": curve["label"], "difference": p["difference"], "cosine": p["mean"], "error": p["error"],
                     **dict(zip(("min_over_pairs", "max_over_pairs"), between(p), strict=True)), "share": p["share"],
                     "undefined": p["undefined"]} for curve in results["curves"] for p in curve["points"]]
        names = [subject["label"] for subject in results["subjects"]]
        return [{"first": first, "second": second, "cosine": cell["mean"], "error": cell["error"],
                 **dict(zip(("p05", "p25", "p50", "p75", "p95"), cell["quantiles"] or [None] * 5, strict=True)),
                 "undefined": cell["undefined"]}
                for first, row in zip(names, results["cells"], strict=True)
                for second, cell in zip(names, row, strict=True)]

    @classmethod
    def tables(cls, record: Record) -> list[Table]:
        results = record["results"]
        if "curves" in results:
            return [(curve["label"], ["difference", "mean cosine", "min over pairs", "max over pairs", "share %"],
                     [[str(p["difference"]), _mean(p), *(f"{limit:.3f}" for limit in between(p)),
                       f"{100 * p['share']:.1f}"] for p in curve["points"]]) for curve in results["curves"]]
        names = [subject["label"] for subject in results["subjects"]]
        return [("Mean cosine", ["", *names], [[names[a], *map(_mean, row)] for a, row in enumerate(results["cells"])])]

    @classmethod
    def findings(cls, record: Record) -> list[str]:
        results = record["results"]
        if "curves" in results:
            ends = [(curve["label"], curve["points"][0], curve["points"][-1]) for curve in results["curves"]]
            return [f"{label}: from {_mean(first)} on the same path to {_mean(last)} at difference "
                    f"{last['difference']}." for label, first, last in ends]
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

    @classmethod
    def figures(cls, record: Record) -> dict[str, Figure]:
        results = record["results"]
        about = caption(record)
        if "curves" in results:
            title = f"{cls.title}: cosine between input gradients on two paths\n{about}"
            return {"": curves_by_difference(results["curves"], "mean", "mean cosine of input gradients", title, [],
                                             "min to max")}
        families = [family(space) for space in spaces(record)]
        return {"": _matrix(results, about), "-histograms": _histograms(results, families, about)}


def _matrix(results: dict[str, Any], about: str) -> Figure:
    names = [subject["label"] for subject in results["subjects"]]
    side = 1.4 + 0.8 * len(names)
    figure, axes = new_figure(max(side + 1.2, 5.5), side + 0.6)
    heatmap(axes, [[cell["mean"] for cell in row] for row in results["cells"]],
            [["-" if cell["mean"] is None else f"{cell['mean']:.2f}" for cell in row] for row in results["cells"]],
            names, names, min(0.0, *(c["mean"] or 0.0 for row in results["cells"] for c in row)), 1,
            "Gradient similarity: mean cosine of input gradients\n" + about.replace("; ", "\n"))
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
    figure.suptitle("Gradient similarity: blue within a family (GN, BGN), orange between; line and number: mean\n"
                    f"{about}", fontsize=9, x=0.01, ha="left")
    return figure


def _mean(point: dict[str, Any]) -> str:
    if point["mean"] is None:
        return "-"
    return f"{point['mean']:.3f}" + (f" ± {point['error']:.3f}" if point["error"] else "")
