"""What figures share: colours that colour-blind readers can tell apart, heat maps with their numbers, curves against
path difference, files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnabench.runtime.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL import Image

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito's
STYLES, MARKERS = ("-", "--", ":", "-."), "osD^vPX"
TITLE: dict[str, Any] = {"fontsize": 9, "loc": "left"}


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure of so many inches, and its axes. Without pyplot: its figures need a screen or are a notebook's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, **options)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write <stem>.png (of 256 colours, a quarter of the bytes) and <stem>.svg, the same bytes for the same figure."""
    import matplotlib
    from PIL import Image

    _take_literally(figure)
    files = [stem.with_name(stem.name + ending) for ending in (".png", ".svg")]
    drawn, png, svg = BytesIO(), BytesIO(), BytesIO()
    figure.savefig(drawn, format="png", dpi=160, metadata={"Software": None})
    few_colours(Image.open(drawn)).save(png, format="png", optimize=True)
    with matplotlib.rc_context({"svg.hashsalt": "rnabench"}):
        figure.savefig(svg, format="svg", metadata={"Date": None})
    for file, content in zip(files, (png, svg), strict=True):
        write_bytes(file, content)
    return files


def _take_literally(figure: Figure) -> None:
    """A name that has a `$` is no mathematics, as which it would be set, or refused; numbers along an axis are."""
    from matplotlib.text import Text
    from matplotlib.ticker import FixedFormatter, FuncFormatter

    numbers = {label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)
               if not isinstance(axis.get_major_formatter(), FixedFormatter | FuncFormatter)
               for label in axis.get_ticklabels(which="both")}
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text not in numbers:
            text.set_parse_math(False)


def few_colours(image: Image.Image, count: int = 256) -> Image.Image:
    """The same picture with so many colours (2 to 256), those that fit it best."""
    from PIL import Image

    return image.convert("RGB").quantize(count, dither=Image.Dither.NONE)


def heatmap(axes: Axes, values: Sequence[Sequence[float | None]], texts: Sequence[Sequence[str]],
            rows: Sequence[str], columns: Sequence[str], low: float, high: float, title: str,
            colours: str = "cividis") -> None:
    """A matrix with a text in every cell; None is left blank."""
    import numpy as np

    shown = np.array([[np.nan if value is None else value for value in row] for row in values], dtype=float)
    image = axes.imshow(shown, vmin=low, vmax=high, cmap=colours)
    for i, row in enumerate(texts):
        for j, text in enumerate(row):
            share = 0.0 if np.isnan(shown[i, j]) else (shown[i, j] - low) / ((high - low) or 1)
            first, _, rest = text.partition("\n")
            colour = "black" if share > 0.55 else "white"
            axes.text(j, i - (0.12 if rest else 0), first, ha="center", va="center", color=colour, fontsize=10)
            if rest:
                axes.text(j, i + 0.16, rest, ha="center", va="top" if "\n" in rest else "center", color=colour,
                          fontsize=6.5)
    axes.set_xticks(range(len(columns)), columns, rotation=30 if max(map(len, columns)) > 6 else 0,
                    ha="right" if max(map(len, columns)) > 6 else "center")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_title(title, **TITLE)
    axes.figure.colorbar(image, ax=axes, shrink=0.8)


def plain(axes: Axes) -> None:
    """Only the lines that help."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def logarithmic(axes: Axes, low: float, high: float) -> None:
    """A logarithmic x axis around `low` to `high` (above 0), with plain numbers that have room side by side."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    decades = math.log10(high / low)
    axes.set_xscale("log")
    axes.set_xlim(low / 1.25, high * 1.25)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.5 else (1, 3) if decades < 3 else (1,)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:,.6g}"))


def curves_by_difference(curves: list[dict[str, Any]], middle: str, label: str, title: str,
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
    axes.set_title(title, **TITLE)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def between(point: dict[str, Any]) -> tuple[float, float]:
    """The least and the largest value over pairs of paths; NaN if no pair has one."""
    values = [value for value in point["by_pair"] if value is not None] or [math.nan]
    return min(values), max(values)
