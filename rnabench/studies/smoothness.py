"""Smoothness (Figure 2, eqs. 5-6): distributions along the gradient, loss surfaces, and eq. 5 by layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import field_validator

from rnabench.errors import InvalidValue
from rnabench.report.figure import COLOURS, MARKERS, new_figure, plain
from rnabench.report.study import caption
from rnabench.settings.base import setting
from rnabench.settings.pixels import Length
from rnabench.settings.studies import LENGTHS, RADIUS, Record, Results, Splitting, Table, study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rnabench.studies.measure.subject import Networks
    from rnabench.studies.measure.work import Work

MEASURES = {"loss": "loss", "gradient_norm": "gradient norm", "curvature": "curvature d'Hd", "finite": "beta",
            "change": "loss change"}


@study
class Smoothness(Splitting):
    """Smoothness of the loss around test images: surfaces, gradient norm and curvature, and eq. 5 by layer (Figure 2).

    `radius` is, by default, the length of a change by eps in every pixel (Linf), or eps (L2).
    """

    name = "smoothness"
    title = "Smoothness"
    legend = """\
Distances are Euclidean, in pixel values. **gradient norm**: of the cross-entropy with respect to the clean image.
**curvature**: d' H d along the direction d of the gradient, from a Hessian-vector product (eq. 6, the effective
beta-smoothness at the image itself). **beta**: the largest change of the gradient along d divided by the distance, over
steps up to the radius; it sees the kinks of ReLU networks, which the Hessian at a point does not. **loss change**: at
the radius along d. Medians over images, in brackets the middle 90 %. *mean of K paths*: of the loss averaged over K
fixed random paths. Eq. 5 by layer: **gain** is gamma^2/sigma^2, **mean** and **projection** the shares of the squared
gradient that a GN takes away, **left** what remains by the formula and as measured by automatic differentiation."""

    unused: ClassVar[tuple[str, ...]] = ("step_size",)
    paths: str = setting("normalisers", "Which paths of a randomised network to look at one by one, besides the mean "
                         "over paths: one per normaliser (normalisers), a number of random ones, or none (deployed).",
                         "Network")
    samples: int = setting(10, "Paths in the mean over paths of a randomised network.", "Network", strict=True, ge=1,
                           le=1000)
    radius: Annotated[Length | None, RADIUS] = None
    lengths: Annotated[int, LENGTHS] = 8
    surfaces: int = setting(2, "Loss surfaces around so many of the first images.", "Data", strict=True, ge=0, le=16)
    points: int = setting(21, "Points per side of a surface (odd).", "Data", strict=True, ge=3, le=201)

    @field_validator("points")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("expected an odd number, so that the image itself is a point")
        return value

    def passes(self, layers: int, models: int, classes: int) -> tuple[float, float]:
        return 3.0 + 2 * self.lengths, models

    def compute(self, networks: Networks, classes: int, work: Work) -> Results:
        from rnabench.studies.measure.norm_gradients import layer_rows
        from rnabench.studies.measure.smoothness import longest_change, views
        from rnabench.studies.measure.work import short, spread

        first = next(work.source.in_order(max(1, self.surfaces)))
        radius = self.radius or longest_change(self.norm, self.eps, first.images)
        if radius == 0:
            raise InvalidValue("--radius", radius, "a length above 0 (or --eps above 0)")
        lengths = [radius * (step + 1) / self.lengths for step in range(self.lengths)]
        shown = range(min(self.surfaces, len(first.indices)))
        subjects, surfaces = [], []
        for view in views(networks, self.paths, self.samples, self.seed):
            measured = work(f"along the gradient of {view.label}", view.along(lengths))
            change = measured["losses"] - measured["loss"][:, None]
            measures = {name: measured[name] for name in ("loss", "gradient_norm", "curvature", "finite")} | {
                "change": change[:, -1]}
            subjects.append({
                "label": view.label, "paths": [str(path) for path in view.paths], "mean_over_paths": not view.single,
                "measures": {name: spread(values) | {"values": short(values)} for name, values in measures.items()},
                "changes": [spread(change[:, step]) for step in range(self.lengths)],
                "layers": layer_rows(view.label, view.model, view.paths[0], work) if view.single else None,
            })
            surfaces.append([view.surface_at(first.part(image, image + 1), image, radius, self.points, self.seed, work)
                             for image in shown])
        return {"subjects": subjects, "radius": radius, "lengths": lengths, "surfaces": [
            {"index": first.indices[image], "class": int(first.labels[image]),
             "losses": [each[image] for each in surfaces]} for image in shown]}

    @classmethod
    def rows(cls, record: Record) -> list[dict[str, Any]]:
        return [
            {"model": subject["label"], "measure": name, "mean": found["mean"], "error": found["error"],
             **dict(zip(("p05", "p25", "p50", "p75", "p95"), found["quantiles"] or [None] * 5, strict=True)),
             "undefined": found["undefined"]}
            for subject in record["results"]["subjects"] for name, found in subject["measures"].items()
        ]

    @classmethod
    def tables(cls, record: Record) -> list[Table]:
        subjects = record["results"]["subjects"]
        main = [[subject["label"], *(_spread(subject["measures"][name]) for name in MEASURES)] for subject in subjects]
        found = [("Along the gradient", ["model", *MEASURES.values()], main)]
        layers = [[subject["label"], layer["layer"], layer["option"] or "-", _number(layer["gain"]),
                   *("-" if layer[name] is None else f"{100 * layer[name]:.3f}"
                     for name in ("mean_share", "projection_share", "predicted", "measured"))]
                  for subject in subjects if subject["layers"] for layer in subject["layers"]]
        if layers:
            found.append(("Eq. 5 by layer", ["model", "layer", "normaliser", "gain", "mean %", "projection %",
                                             "left %, formula", "left %, measured"], layers))
        return found

    @classmethod
    def findings(cls, record: Record) -> list[str]:
        subjects = record["results"]["subjects"]
        found = []
        for name, text in (("gradient_norm", "gradient norm"), ("finite", "beta"), ("change", "loss change")):
            known = [(each["measures"][name]["quantiles"][2], each["label"]) for each in subjects
                     if each["measures"][name]["quantiles"]]
            order = ", ".join(f"{label} {value:.3g}" for value, label in sorted(known))
            found.append(f"Median {text}, smoothest first: {order}.")
        gaps = [abs(layer["predicted"] - layer["measured"]) for each in subjects for layer in each["layers"] or []
                if layer["measured"] is not None]
        if gaps:
            found.append(f"Eq. 5 and automatic differentiation agree in all {len(gaps)} layers to {max(gaps):.1e}.")
        if without := [each["label"] for each in subjects if each["layers"] == []]:
            found.append(f"Eq. 5 says nothing of {', '.join(without)}: no normalisation layers.")
        return found

    @classmethod
    def figures(cls, record: Record) -> dict[str, Figure]:
        results = record["results"]
        about = caption(record)
        drawn = {"": _distributions(results, about)}
        for surface in results["surfaces"]:
            name = record["data"]["classes"][surface["class"]]
            drawn[f"-surface-{surface['index']}"] = _surfaces(
                results, surface, f"Loss surface around test image {surface['index']} (class {name}); {about}")
        if any(subject["layers"] for subject in results["subjects"]):
            drawn["-layers"] = _layers(results, about)
        return drawn


def _distributions(results: dict[str, Any], about: str) -> Figure:
    subjects = results["subjects"]
    names = [subject["label"] for subject in subjects]
    figure, panels = new_figure(12.5, 1.5 + 0.32 * len(names), 1, 4, sharey=True)
    titles = {"gradient_norm": "gradient norm", "curvature": "curvature d'Hd (Hessian)",
              "finite": f"beta (steps up to {results['radius']:.2g})",
              "change": f"loss change at {results['radius']:.2g}"}
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        for place, subject in enumerate(subjects):
            quantiles = subject["measures"][name]["quantiles"]
            if quantiles is None:
                continue
            low, first, middle, third, high = quantiles
            colour = COLOURS[1] if subject["mean_over_paths"] else COLOURS[0]
            axes.plot([low, high], [place, place], color=colour, linewidth=1)
            axes.plot([first, third], [place, place], color=colour, linewidth=6, alpha=0.5, solid_capstyle="butt")
            axes.plot([middle], [place], "|", color="black", markersize=11, markeredgewidth=2)
        values = [q for s in subjects for q in s["measures"][name]["quantiles"] or []]
        if name in ("gradient_norm", "finite") and values and min(values) > 0 and max(values) > 20 * min(values):
            axes.set_xscale("log")
        elif name == "curvature" and values:
            small = max(1e-6, sorted(map(abs, values))[len(values) // 4])
            axes.set_xscale("symlog", linthresh=10 ** math.ceil(math.log10(small)))
            axes.axvline(0, color="0.6", linewidth=0.8)
        axes.set_title(title, fontsize=9)
        axes.tick_params(axis="x", labelsize=8)
        plain(axes)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    figure.suptitle("Smoothness along the input gradient (mark: median, bar: middle half, line: middle 90 % of images; "
                    f"orange: mean over paths)\n{about}; Euclidean distances, in pixel values", fontsize=9, x=0.01,
                    ha="left")
    return figure


def _surfaces(results: dict[str, Any], surface: dict[str, Any], title: str) -> Figure:
    """In pairs below each other, surface and contours, all on one scale."""
    import numpy as np

    names = [subject["label"] for subject in results["subjects"]]
    columns = min(5, len(names))
    lines = -(-len(names) // columns)
    figure, _ = new_figure(2.5 * columns + 0.7, 4.6 * lines + 0.6)
    figure.clear()
    grids = [np.array(grid) for grid in surface["losses"]]
    low, high = min(float(g.min()) for g in grids), max(float(g.max()) for g in grids)
    steps = np.linspace(-results["radius"], results["radius"], len(grids[0]))
    across, along = np.meshgrid(steps, steps)
    levels = np.linspace(low, high if high > low else low + 1, 25)
    contours, flat = None, []
    for place, (name, grid) in enumerate(zip(names, grids, strict=True)):
        line, column = divmod(place, columns)
        space = figure.add_subplot(2 * lines, columns, 2 * line * columns + column + 1, projection="3d")
        space.plot_surface(along, across, grid, cmap="cividis", vmin=low, vmax=high, linewidth=0, rcount=40, ccount=40,
                           rasterized=True)
        space.set_zlim(low, high)
        space.set_title(name, fontsize=9)
        space.tick_params(labelsize=5.5, pad=-3)
        space.set_xlabel("gradient", fontsize=6, labelpad=-8)
        space.set_ylabel("random", fontsize=6, labelpad=-8)
        space.view_init(elev=28, azim=-60)
        axes = figure.add_subplot(2 * lines, columns, (2 * line + 1) * columns + column + 1)
        contours = axes.contourf(along, across, grid, levels=levels, cmap="cividis")
        axes.contour(along, across, grid, levels=levels, colors="white", linewidths=0.4)
        axes.plot(0, 0, "+", color="white", markersize=7)
        axes.set_aspect("equal")
        axes.tick_params(labelsize=6.5)
        axes.set_xlabel("along the gradient", fontsize=7)
        if column == 0:
            axes.set_ylabel("random, orthogonal", fontsize=7)
        flat.append(axes)
    assert contours is not None
    bar = figure.colorbar(contours, ax=flat, shrink=0.7, format="%.2f")
    bar.set_label("cross-entropy", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    figure.suptitle(f"{title}\n+ is the image; distances are Euclidean, in pixel values; one scale for all", fontsize=9,
                    x=0.01, ha="left")
    return figure


def _layers(results: dict[str, Any], about: str) -> Figure:
    shown = [subject for subject in results["subjects"] if subject["layers"]]
    figure, (gains, left) = new_figure(11, 4.2, 1, 2)
    for place, subject in enumerate(shown):
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        numbers = range(1, len(subject["layers"]) + 1)
        gain, measured, predicted = ([_or_gap(layer[name]) for layer in subject["layers"]]
                                     for name in ("gain", "measured", "predicted"))
        style: dict[str, Any] = {"marker": marker, "markersize": 3.5, "color": colour, "linewidth": 1}
        gains.plot(numbers, gain, label=subject["label"], **style)
        left.plot(numbers, [100 * share for share in measured], label=subject["label"], **style)
        left.plot(numbers, [100 * share for share in predicted], "x", color="black", markersize=4,
                  label="formula" if place == len(shown) - 1 else None)
    gains.set_yscale("log")
    gains.set_ylabel("gain: gamma²/sigma², weighted by |g|²")
    left.set_ylabel("left of the squared gradient after the gain (%)")
    from matplotlib.ticker import MaxNLocator

    for axes in (gains, left):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("normalisation layer, in the order of the forward pass")
        plain(axes)
    left.legend(fontsize=7.5, frameon=False)
    figure.suptitle(f"Eq. 5 by layer: |gradient behind|² = gain x |gradient in front|² x what is left\n{about}",
                    fontsize=9, x=0.01, ha="left")
    return figure


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _or_gap(value: float | None) -> float:
    """What has no value (a layer behind which every gradient is zero) leaves a gap in its line."""
    return math.nan if value is None else value


def _spread(found: dict[str, Any]) -> str:
    if found["quantiles"] is None:
        return "-"
    low, _, middle, _, high = found["quantiles"]
    return f"{middle:.3g} [{low:.3g}, {high:.3g}]"
