"""Common corruptions (Hendrycks and Dietterich 2019; the AdvProp chapter of the thesis): accuracy by corruption and
severity, and the mean corruption error."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, field_serializer

from rnabench.errors import InvalidValue, one_of, unknown
from rnabench.report.figure import COLOURS, MARKERS, TITLE, new_figure, plain
from rnabench.report.study import caption, with_interval
from rnabench.settings.base import Draws, chosen_indices, described, setting
from rnabench.settings.corruptions import CORRUPTIONS, SEVERITIES, Corrupted
from rnabench.settings.pixels import WrittenBy
from rnabench.settings.studies import Record, Results, Study, Table, study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rnabench.studies.measure.subject import Networks
    from rnabench.studies.measure.work import Work


def _names(value: Any) -> Any:
    """`fog+snow` as a list, or `all`."""
    names = value.replace(",", "+").split("+") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names:
        raise ValueError("expected corruptions by name, such as fog+snow, or all")
    if list(names) == ["all"]:
        return ("all",)
    for name in names:
        try:
            CORRUPTIONS.get(str(name).strip())
        except InvalidValue as error:
            which = f" (for {name!r})" if len(names) > 1 else ""
            raise ValueError(f"expected {error.expected}{which}{error.hint}") from None
    if len(set(names)) < len(names):
        raise ValueError("expected each corruption once")
    return tuple(str(name).strip() for name in names)


def _severities(value: Any) -> Any:
    """`1-5` or `1,3,5` as numbers."""
    try:
        numbers = value if isinstance(value, list | tuple) else chosen_indices(str(value))
    except ValueError:
        numbers = []
    if not numbers or list(numbers) != [each for each in SEVERITIES if each in numbers]:
        raise ValueError("expected growing numbers from 1 to 5, such as 1-5 or 1,3,5")
    return tuple(numbers)


Names = Annotated[tuple[str, ...], BeforeValidator(_names), WrittenBy("+".join), described(
    "Corruptions by name, several joined by +, such as gaussian-noise+fog; all: every one that there is.", "Data")]
Severities = Annotated[tuple[int, ...], BeforeValidator(_severities), WrittenBy(
    lambda values: ",".join(map(str, values))), described("How severe: 1 to 5, as 1-5 or 1,3,5.", "Data")]


@study
class Corruptions(Study):
    """Accuracy by corruption and severity, and the mean corruption error (the thesis of Xie, 2020: Table 7.1)."""

    name = "corruptions"
    title = "Common corruptions"
    accuracy_by = ("model", "corruption", "severity")
    legend = """\
Fourteen of the fifteen common corruptions of Hendrycks and Dietterich (2019), unless others were asked for, with the
parameters of CIFAR-10-C, made on the fly; frost, which needs photographs, is missing. **mean corruption error**: the
mean over corruptions of the mean error over severities, of clean images no part. **relative**: each corruption's error
divided by the baseline's, then the mean (the paper's mCE, whose baseline is AlexNet). **gain**: by how much lower the
mean corruption error is than that of the network compared with, and which share of it that is, on the same images.
Intervals of 95 % count images, and where a network draws its paths (`--draws` fresh ones for each image) the groups
that share a draw. In figures, bars are intervals."""

    unused: ClassVar[tuple[str, ...]] = ("norm", "eps", "step_size")
    corruptions: Names = ("all",)
    severities: Severities = SEVERITIES
    baseline: str | None = setting(None, "Network, by its label, whose errors divide those of the others, and with "
                                   "which they are compared.", "Network", "none; compared with the first")
    draws: Draws = 20

    @property
    def chosen(self) -> tuple[str, ...]:
        """The corruptions by name, also if these are all."""
        return tuple(CORRUPTIONS) if self.corruptions == ("all",) else self.corruptions

    @field_serializer("corruptions")
    def _said(self, corruptions: tuple[str, ...]) -> list[str]:
        """A record says which ones were all, and its digest knows of it when there are others."""
        return list(self.chosen)

    @property
    def freezes(self) -> bool:
        return False

    def passes(self, layers: int, models: int, classes: int) -> tuple[float, float]:
        return 0.0, (1 + len(self.chosen) * len(self.severities)) * (self.draws if layers else 1)

    def misfits(self, options: Mapping[str, int]) -> Iterator[str]:
        if self.baseline is not None and self.baseline not in options:
            yield f"baseline: {unknown(self.baseline, options)}"

    def compute(self, networks: Networks, classes: int, work: Work) -> Results:
        from rnabench.studies.measure.corruptions import answers, scored

        labels = [label for label, _ in networks]
        baseline = None if self.baseline is None else _among(labels, self.baseline)
        asked = [Corrupted(name, severity) for name in self.chosen for severity in self.severities]
        keys, reference = self.evaluation(draws=self.draws), baseline or labels[0]
        found = {each.label: each for each in answers(networks, asked, keys, classes, work)}
        return {"reference": reference, "networks": [
            scored(each, found[reference], found[baseline] if baseline else None) for each in found.values()]}

    @classmethod
    def rows(cls, record: Record) -> list[dict[str, Any]]:
        rows = []
        for network in record["results"]["networks"]:
            label = network["label"]
            rows.append(_row(label, "none", 0, network["clean"]))
            for found in network["corruptions"]:
                rows += [_row(label, found["name"], cell["severity"], cell) for cell in found["severities"]]
                rows.append(_mean_row(label, found["name"], found))
            rows.append(_mean_row(label, "mean", network))
        return rows

    @classmethod
    def tables(cls, record: Record) -> list[Table]:
        networks = record["results"]["networks"]
        divided, compared = record["keys"]["baseline"] is not None, len(networks) > 1
        reference = record["results"]["reference"]
        headings = ["network", "clean error % [95 %]", "mean corruption error % [95 %]",
                    *([f"relative to {reference}, % [95 %]"] if divided else []),
                    *([f"gain over {reference}, points [95 %]", "gain, % [95 %]"] if compared else [])]
        lines = [[network["label"], _error(network["clean"]), _percent(network["error"]),
                  *([_percent(network["relative"])] if divided else []),
                  *([_percent(network[name], "+.1f") for name in ("gain", "relative_gain")] if compared else [])]
                 for network in networks]
        found: list[Table] = [("Mean corruption error", headings, lines)]
        labels = [network["label"] for network in networks]
        corruptions = list(zip(*(network["corruptions"] for network in networks), strict=True))
        for name, title in (("error", "Error by corruption, mean over severities, %"),
                            *([("relative", f"Error relative to {reference}'s, %")] if divided else [])):
            found.append((title, ["corruption", *labels],
                          [[row[0]["name"], *(_percent(cell[name]) for cell in row)] for row in corruptions]))
        severities = [str(severity) for severity in record["keys"]["severities"]]
        found += [(f"Accuracy of {network['label']} by severity, %", ["corruption", *severities],
                   [[each["name"], *(with_interval(cell["accuracy"], cell["interval95"])
                                     for cell in each["severities"])] for each in network["corruptions"]])
                  for network in networks]
        return found

    @classmethod
    def findings(cls, record: Record) -> list[str]:
        found, reference = [], record["results"]["reference"]
        for network in record["results"]["networks"]:
            order = sorted(network["corruptions"], key=lambda each: each["error"][0])
            ends = "" if len(order) < 2 else (
                f" (least {order[0]['name']} {100 * order[0]['error'][0]:.1f}, most {order[-1]['name']} "
                f"{100 * order[-1]['error'][0]:.1f})")
            found.append(f"{network['label']}: wrong on {_error(network['clean'])} % of clean images, mean corruption "
                         f"error {_percent(network['error'])} %{ends}.")
            if network["gain"] is not None:
                low, high = network["gain"][1:]
                verdict = "lower" if low > 0 else "higher" if high < 0 else "not shown to be lower or higher"
                found.append(f"{network['label']}: its mean corruption error is {verdict} than {reference}'s (gain "
                             f"{_percent(network['gain'], '+.1f')} points).")
        return found

    @classmethod
    def figures(cls, record: Record) -> dict[str, Figure]:
        networks, names = record["results"]["networks"], record["keys"]["corruptions"]
        figure, (left, right) = new_figure(11.5, 2.2 + (0.24 + 0.06 * len(networks)) * max(len(names), 8), 1, 2,
                                           width_ratios=[1.5, 1])
        for place, network in enumerate(networks):
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5, "linewidth": 1.5}
            beside = 0.6 * ((place + 0.5) / len(networks) - 0.5)
            _with_bars(left, [(each["error"], line + beside) for line, each in enumerate(network["corruptions"])],
                       label=network["label"], linestyle="none", **style)
            left.axvline(100 * network["error"][0], color=colour, linestyle=":", linewidth=1.2)
            severities = network["by_severity"]
            clean = 1 - network["clean"]["accuracy"]
            x, y = [0, *(each["severity"] for each in severities)], [clean, *(each["error"][0] for each in severities)]
            right.plot(x, [100 * value for value in y], label=network["label"], **style)
            right.fill_between(x[1:], *([100 * each["error"][limit] for each in severities] for limit in (1, 2)),
                               color=colour, alpha=0.12, linewidth=0)
        left.set_yticks(range(len(names)), names)
        left.invert_yaxis()
        left.set_xlabel("error, mean over severities (%); dotted: mean over corruptions")
        right.set_xticks([0, *record["keys"]["severities"]], ["clean", *map(str, record["keys"]["severities"])])
        right.set_xlabel("severity")
        right.set_ylabel("error, mean over corruptions (%)")
        for axes in (left, right):
            plain(axes)
        left.set_xlim(left=0)
        right.set_ylim(bottom=0)
        left.set_title("by corruption", **TITLE)
        right.set_title("by severity", **TITLE)
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=min(4, len(networks)),
                      fontsize=8, frameon=False)
        figure.suptitle(f"{cls.title}: error on corrupted images (bars and bands: 95 %)\n{caption(record)}",
                        fontsize=9, x=0.01, ha="left")
        return {"": figure}


def _among(labels: list[str], name: str) -> str:
    """The label of the network of that name, in a recipe the first of its trainings. Raises InvalidValue."""
    for label in labels:
        if label == name or re.fullmatch(re.escape(name) + r"\.s\d+", label):
            return label
    raise InvalidValue("--baseline", name, one_of(labels), labels)


def _row(label: str, corruption: str, severity: int | str, cell: dict[str, Any],
         relative: list[float | None] | None = None) -> dict[str, Any]:
    return {"model": label, "corruption": corruption, "severity": severity, "accuracy": cell["accuracy"],
            **dict(zip(("low95", "high95"), cell["interval95"], strict=True)),
            **dict(zip(("relative_error", "relative_low95", "relative_high95"), relative or [None] * 3, strict=True))}


def _mean_row(label: str, corruption: str, found: dict[str, Any]) -> dict[str, Any]:
    error, low, high = found["error"]
    return _row(label, corruption, "mean", {"accuracy": 1 - error, "interval95": [1 - high, 1 - low]},
                found["relative"])


def _with_bars(axes: Axes, points: list[tuple[list[float], float]], **style: Any) -> None:
    """Errors with their intervals, each at its height."""
    values = [[100 * part for part in estimate] for estimate, _ in points]
    axes.errorbar([value for value, _, _ in values], [height for _, height in points],
                  xerr=[[value - low for value, low, _ in values], [high - value for value, _, high in values]],
                  capsize=0, elinewidth=1.2, **style)


def _error(cell: dict[str, Any]) -> str:
    low, high = cell["interval95"]
    return with_interval(1 - cell["accuracy"], [1 - high, 1 - low])


def _percent(estimate: list[float] | None, shape: str = ".1f") -> str:
    """An estimate in percent, as `52.1 [48.0, 56.2]`; a dash for what there is not, or is not known."""
    if estimate is None:
        return "-"
    value, low, high = ("-" if part is None else format(100 * part, shape) for part in estimate)
    return f"{value} [{low}, {high}]"
