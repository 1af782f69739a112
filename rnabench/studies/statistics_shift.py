"""Shift of statistics (RobustNorm paper, Figures 2 and 5): batches of clean and of attacked images against the running
statistics of the normalisers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnabench.errors import InvalidValue
from rnabench.report.figure import COLOURS, MARKERS, new_figure, plain
from rnabench.report.study import caption
from rnabench.settings.base import setting
from rnabench.settings.studies import Attacking, Record, Results, Table, study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rnabench.studies.measure.statistics_shift import NetworkShifts
    from rnabench.studies.measure.subject import Networks
    from rnabench.studies.measure.work import Work

MEASURES = {"mean_in_sigmas": "|mean shift| / sigma", "log_spread": "log(batch / running)", "mean": "|mean shift|",
            "spread": "|spread shift|"}
SPREADS = {"var": "variance", "range": "range", None: "-"}
QUANTILES = {"min": 0, "p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "max": 1}


@study
class StatisticsShift(Attacking):
    """How far the statistics of batches, clean and attacked, are from the running ones of the normalisers (RobustNorm
    paper, Figures 2 and 5)."""

    name = "statistics-shift"
    title = "Shift of statistics"
    legend = """\
A row is a normaliser that keeps running statistics of batches; the network runs as it is evaluated. A shift is the
statistic of a batch less the running one. **|mean shift| / sigma**: in running standard deviations (or ranges).
**log(batch / running)**: of the variance (or range). **|mean shift|**, **|spread shift|**: as they are; *spread* says
whether that is of a variance or of a range. All are means over channels, then over batches, ± the standard deviation
over batches. **attacked - clean**: paired by batch, with the 95 % interval (Student's t) over batches. **sigma**: the
running standard deviation (or range), and **(1 - mean) / sigma**, what normalising the constant 1 gives (for other
norms by their own formula): medians over channels, in brackets the middle 90 %, then the largest."""

    attack: str | dict[str, Any] = setting("pgd20", "Attack by name, as in `rnabench attack --list`.", "Attack")

    def passes(self, layers: int, models: int, classes: int) -> tuple[float, float]:
        gradients, forwards = self.attack_passes(classes)
        return gradients, forwards + 2

    def compute(self, networks: Networks, classes: int, work: Work) -> Results:
        from rnabench.studies.measure.statistics_shift import statistics_shift, tracked_norms

        kept = [(label, model) for label, model in networks if tracked_norms(model)]
        if not kept:
            raise InvalidValue("RUN", networks[0][0], "a network with normalisers that keep running statistics of "
                                                      "batches, such as one of --space bn")
        return {"networks": [{"label": label} | _described(
            statistics_shift(label, model, self.spec, self.evaluation(), classes, work)) for label, model in kept],
            "without": [label for label, model in networks if not tracked_norms(model)]}

    @classmethod
    def rows(cls, record: Record) -> list[dict[str, Any]]:
        rows = []
        for network in record["results"]["networks"]:
            for layer in network["layers"]:
                names = {"model": network["label"], "layer": layer["layer"], "option": layer["option"],
                         "spread": SPREADS[layer["spread"]]}
                for measure, found in layer["measures"].items():
                    rows.append(names | {"measure": measure} | {
                        f"{kind}{part}": number for kind, numbers in found.items()
                        for part, number in zip(("", "_low95", "_high95", "_deviation"), numbers, strict=False)})
                rows += [names | {"measure": measure} | dict(zip(QUANTILES, layer[measure], strict=True))
                         for measure in ("sigma", "of_one") if layer[measure]]
        return rows

    @classmethod
    def tables(cls, record: Record) -> list[Table]:
        tables = []
        for network in record["results"]["networks"]:
            for pair in (("mean_in_sigmas", "log_spread"), ("mean", "spread")):
                lines = [[_name(layer), SPREADS[layer["spread"]], *(
                    text for measure in pair for text in _compared(layer["measures"].get(measure)))]
                    for layer in network["layers"]]
                headings = [f"{MEASURES[measure]}, {kind}" for measure in pair
                            for kind in ("clean", "attacked", "attacked - clean [95 %]")]
                tables.append((f"{network['label']}: {' and '.join(MEASURES[measure] for measure in pair)}, "
                               f"{network['batches']} batches", ["layer", "spread", *headings], lines))
        for network in record["results"]["networks"]:
            tables.append((f"{network['label']}: running statistics over channels",
                           ["layer", "channels", "sigma", "largest", "(1 - mean) / sigma", "largest"],
                           [[_name(layer), str(layer["channels"]), *_middle(layer["sigma"]), *_middle(layer["of_one"])]
                            for layer in network["layers"]]))
        return tables

    @classmethod
    def findings(cls, record: Record) -> list[str]:
        found = []
        for network in record["results"]["networks"]:
            for measure, what, more_is, less_is in (
                    ("mean_in_sigmas", "|mean shift| / sigma", "further from the running mean", "nearer to it"),
                    ("log_spread", "log(batch / running) of variances (or ranges)", "larger", "smaller")):
                layers = [layer["measures"][measure] for layer in network["layers"] if measure in layer["measures"]]
                layers = [layer for layer in layers if layer["clean"][0] is not None]
                if not layers:
                    continue
                clean, attacked = (sum(layer[kind][0] for layer in layers) / len(layers)
                                   for kind in ("clean", "attacked"))
                more = sum(layer["difference"][1] is not None and layer["difference"][1] > 0 for layer in layers)
                less = sum(layer["difference"][2] is not None and layer["difference"][2] < 0 for layer in layers)
                found.append(f"{network['label']}: {what} is {clean:.3g} for clean batches and {attacked:.3g} for "
                             f"attacked ones (mean over {len(layers)} layers). By the interval of a layer, "
                             f"attacked ones are {more_is} in {more} layers and {less_is} in {less}.")
        with_sigma = {network["label"]: [layer["sigma"] for layer in network["layers"] if layer["sigma"]]
                      for network in record["results"]["networks"]}
        if said := ", ".join(f"{label} {sorted(s[3] for s in sigmas)[len(sigmas) // 2]:.3g} (largest "
                             f"{max(s[6] for s in sigmas):.3g})" for label, sigmas in with_sigma.items() if sigmas):
            found.append(f"Running sigma, median layer's median channel: {said}.")
        return [*found, *(f"{label}: keeps no running statistics." for label in record["results"]["without"])]

    @classmethod
    def figures(cls, record: Record) -> dict[str, Figure]:
        about = caption(record).replace("; ", "\n", 1)
        return {"": _by_channel(record["results"]["networks"], about), "-scale": _scales(record["results"]["networks"],
                                                                                        about)}


def _described(shifts: NetworkShifts) -> Results:
    """The numbers over batches; by channel, only of the layers that the figure shows: the first, middle and last."""
    import numpy as np

    from rnabench.studies.measure.statistics_shift import measures

    names = list(dict.fromkeys(tracked.layer for tracked in shifts.norms))
    shown = {names[0], names[len(names) // 2], names[-1]}
    layers = []
    for tracked, clean, attacked in zip(shifts.norms, shifts.clean, shifts.attacked, strict=True):
        before, after = measures(tracked, clean), measures(tracked, attacked)
        running = None if tracked.spread is None else tracked.running(tracked.spread)
        of_one = tracked.of_one()
        layers.append({
            "layer": tracked.layer, "option": tracked.option, "channels": tracked.norm.groups, "spread": tracked.spread,
            "measures": {name: {"clean": _over_batches(before[name]), "attacked": _over_batches(after[name]),
                                "difference": _over_batches(after[name] - before[name])} for name in before},
            "sigma": None if running is None else np.quantile(
                np.sqrt(running) if tracked.spread == "var" else running, list(QUANTILES.values())).tolist(),
            "of_one": None if of_one is None else np.quantile(of_one, list(QUANTILES.values())).tolist(),
            "by_channel": {kind: {statistic: _bands(values) for statistic, values in found.items()}
                           for kind, found in (("clean", clean), ("attacked", attacked))}
            if tracked.layer in shown else None})
    return {"batches": shifts.batches, "left_out": shifts.left_out, "layers": layers}


def _over_batches(values: Any) -> list[float | None]:
    """Mean, the limits of its interval, and the standard deviation over those batches whose path went there."""
    import numpy as np

    from rnabench.scoring.interval import mean_interval

    values = values[~np.isnan(values)]
    return [*(mean_interval(values) or [None] * 3), float(values.std(ddof=1)) if len(values) > 1 else None]


def _bands(values: Any) -> list[list[float]]:
    """Over batches, by channel: 5 %, median and 95 %, to five digits."""
    import numpy as np

    values = values[~np.isnan(values).any(1)]
    bands = np.quantile(values, [0.05, 0.5, 0.95], axis=0) if len(values) else np.empty((3, 0))
    return [[float(f"{value:.5g}") for value in band] for band in bands]


def _name(layer: dict[str, Any]) -> str:
    return f"{layer['layer']} {layer['option'] or ''}".strip()


def _compared(found: dict[str, Any] | None) -> list[str]:
    if found is None or found["clean"][0] is None:
        return ["-", "-", "-"]
    sides = [f"{found[kind][0]:.3g}" + (f" ± {found[kind][3]:.2g}" if found[kind][3] is not None else "")
             for kind in ("clean", "attacked")]
    gap, low, high, _ = found["difference"]
    return [*sides, f"{gap:+.3g}" + (f" [{low:+.3g}, {high:+.3g}]" if low is not None else "")]


def _middle(quantiles: list[float] | None) -> list[str]:
    if quantiles is None:
        return ["-", "-"]
    return [f"{quantiles[3]:.3g} [{quantiles[1]:.3g}, {quantiles[5]:.3g}]", f"{quantiles[6]:.3g}"]


def _by_channel(networks: list[dict[str, Any]], about: str) -> Figure:
    """Figure 2: for each network a row of panels for the mean and one for the spread, a column per chosen layer."""
    shown = {network["label"]: [layer for layer in network["layers"] if layer["by_channel"]] for network in networks}
    columns = max(map(len, shown.values()))
    figure, panels = new_figure(3.5 * columns + 0.6, 2.3 * 2 * len(networks) + 1.1, 2 * len(networks), columns,
                                squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for number, (label, layers) in enumerate(shown.items()):
        for column, layer in enumerate(layers):
            for row, statistic in enumerate(["mean", *([layer["spread"]] if layer["spread"] else [])]):
                axes = panels[2 * number + row][column]
                axes.set_axis_on()
                _channels(axes, layer["by_channel"], statistic)
                axes.set_title(f"{label}: {_name(layer)}, {SPREADS.get(statistic, 'mean')}", fontsize=8.5)
                if column == 0:
                    axes.set_ylabel("batch - running", fontsize=8.5)
                axes.set_xlabel("channel", fontsize=8.5)
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8.5,
                  frameon=False)
    figure.suptitle(f"Statistics of batches less the running ones (mark: median, bar: middle 90 % of batches)\n{about}",
                    fontsize=9, x=0.01, ha="left")
    return figure


def _channels(axes: Axes, by_channel: dict[str, Any], statistic: str) -> None:
    for place, (kind, found) in enumerate(by_channel.items()):
        low, middle, high = found[statistic]
        x = [channel + 0.36 * place - 0.18 for channel in range(len(middle))]  # side by side
        axes.vlines(x, low, high, color=COLOURS[place], linewidth=1.2, alpha=0.6)
        axes.plot(x, middle, MARKERS[place], color=COLOURS[place], markersize=2.5, label=f"{kind} batches")
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.tick_params(labelsize=7.5)
    _whole_numbers(axes)
    plain(axes)


def _scales(networks: list[dict[str, Any]], about: str) -> Figure:
    """Figure 5: by layer, how running sigmas and the normalised constant 1 are distributed over channels."""
    figure, panels = new_figure(10.5, 4.2, 1, 2)
    for place, network in enumerate(networks):
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        for axes, measure in zip(panels, ("sigma", "of_one"), strict=True):
            numbers = [number for number, layer in enumerate(network["layers"], 1) if layer[measure]]
            spans = [network["layers"][number - 1][measure] for number in numbers]
            if not spans:
                continue
            _, low, _, middle, _, high, largest = zip(*spans, strict=True)
            axes.plot(numbers, middle, marker=marker, markersize=3.5, color=colour, linewidth=1.2,
                      label=network["label"])
            axes.fill_between(numbers, low, high, color=colour, alpha=0.15, linewidth=0)
            if measure == "sigma":
                axes.plot(numbers, largest, "_", color=colour, markersize=6)
    panels[0].set_ylabel("running sigma (or range)")
    panels[1].set_ylabel("(1 - mean) / sigma")
    for axes in panels:
        low, high = axes.get_ylim()
        if axes is panels[0] and high > 20 * max(low, 1e-9) and all(
                layer["sigma"][1] > 0 for network in networks for layer in network["layers"] if layer["sigma"]):
            axes.set_yscale("log")
        _whole_numbers(axes)
        axes.set_xlabel("normaliser, in the order of the network")
        plain(axes)
    panels[1].legend(fontsize=8, frameon=False)
    figure.suptitle(f"Running statistics over channels (line: median, band: middle 90 %, dash: largest)\n{about}",
                    fontsize=9, x=0.01, ha="left")
    return figure



def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
