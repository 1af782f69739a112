"""Theorem 3.1's terms beside the measured transfer, as table, figure and verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnabench.report.figure import COLOURS, new_figure, plain
from rnabench.report.study import caption, with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Theorem 3.1"
LEGEND = """\
**transfer**: attack success rate on images that both classify correctly, in both directions. Eq. 7: transfer <= (R_a +
R_b) / (min L(x, y_A) - max|grad L| eps (sqrt((1 + S)/2) + 1) - max(beta) eps^2), with mean losses R, the loss of the
likeliest wrong class y_A, Euclidean eps, and for beta the largest |grad(x + t d) - grad(x)| / t along the gradients'
directions d of both losses, up to eps. The theorem's T is over all images, so the bound is held against the share of
all images that both get right and the target then wrong. *extremes*: minimum and maxima over images, as the theorem
has them; *medians*: medians over images and the mean cosine instead. A denominator that is not positive bounds nothing
(**vacuous**). **rank correlation** (Spearman's) with the transfer rate, the mean of both directions, over all pairs of
networks; 95 % intervals are bootstrapped over images: they say how well the images determine the order of these
networks, not how other networks would come out."""
TERMS = {"risks": "R_a + R_b", "target_loss": "L(x, y_A)", "gradient": "gradient norm", "beta": "beta",
         "similarity": "S", "denominator": "denominator"}


def rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"a": pair["a"], "b": pair["b"], "over_images": kind, "transfer_a_to_b": pair["transfer"][0]["rate"],
         "transfer_b_to_a": pair["transfer"][1]["rate"], **pair[kind]}
        for pair in record["results"]["pairs"] for kind in ("extremes", "medians")
    ]


def tables(record: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    results = record["results"]
    found = []
    for kind in ("extremes", "medians"):
        lines = [[f"{pair['a']}, {pair['b']}", *(with_interval(t["rate"], t["interval95"]) for t in pair["transfer"]),
                  *("-" if pair[kind][name] is None else f"{pair[kind][name]:.3g}" for name in TERMS),
                  "vacuous" if pair[kind]["bound"] is None else f"{100 * pair[kind]['bound']:.3g}"]
                 for pair in results["pairs"]]
        found.append((f"Pairs, {kind} over images",
                      ["a, b", "a to b, %", "b to a, %", *TERMS.values(), "bound, %"], lines))
    if _ordered(record):
        found.append(("Order of the pairs", ["term", "rank correlation [95 %]", "the theorem's sign"], [
            [TERMS[name], _correlation(each), "+" if each["expected_sign"] > 0 else "-"]
            for name, each in results["ordering"].items()]))
    return found


def findings(record: dict[str, Any]) -> list[str]:
    results = record["results"]
    pairs = results["pairs"]
    found = []
    for kind, phrase in (("extremes", "with extremes over images, as the theorem has them"),
                         ("medians", "with medians in their place")):
        bounds = [pair[kind]["bound"] for pair in pairs]
        said = sum(bound is not None for bound in bounds)
        kept = sum(bound is not None and all(t["joint"] <= bound for t in pair["transfer"])
                   for bound, pair in zip(bounds, pairs, strict=True))
        rest = f"; {kept} of the other {said} keep it." if said else "."
        found.append(f"At Euclidean eps {results['eps_l2']:.3g}, {phrase}, the bound is vacuous for "
                     f"{len(pairs) - said} of {len(pairs)} pairs{rest}")
    if not _ordered(record):
        return [*found, "One or two pairs have no order to compare: give three networks or more."]
    whole = results["ordering"]["denominator"]
    found.append(f"The order that the theorem predicts over all {len(pairs)} pairs {_verdict(whole)}: rank correlation "
                 f"of transfer with the denominator {_correlation(whole)} (the theorem: negative).")
    for name in ("similarity", "gradient", "beta", "risks"):
        each = results["ordering"][name]
        found.append(f"Of its terms, the order by {TERMS[name]} {_verdict(each)}: {_correlation(each)}.")
    return found


def _ordered(record: dict[str, Any]) -> bool:
    return record["results"]["ordering"]["denominator"]["rank_correlation"] is not None


def _verdict(found: dict[str, Any]) -> str:
    """Whether a correlation has the predicted sign, beyond its interval."""
    if None in found["interval95"]:
        return "cannot be told"
    low, high = sorted(found["expected_sign"] * limit for limit in found["interval95"])
    if low > 0:
        return "holds"
    return "is reversed" if high < 0 else "is not shown either way"


def _correlation(found: dict[str, Any]) -> str:
    value, (low, high) = found["rank_correlation"], found["interval95"]
    return "-" if None in (value, low, high) else f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def figures(record: dict[str, Any]) -> dict[str, Figure]:
    """Transfer against each term, a point per pair: the mean of both directions, and each of them."""
    results = record["results"]
    shown = ("similarity", "gradient", "beta", "denominator")
    figure, panels = new_figure(14, 4.4, 1, len(shown), sharey=True)
    for axes, name in zip(panels, shown, strict=True):
        points: list[tuple[float, float, str]] = []
        for pair in results["pairs"]:
            rates = [100 * transfer["rate"] for transfer in pair["transfer"] if transfer["rate"] is not None]
            x = pair["medians"][name]
            if not rates or x is None:
                continue
            axes.plot([x] * len(rates), rates, "-", color="0.7", linewidth=1)
            axes.plot([x] * len(rates), rates, ".", color="0.5", markersize=4)
            axes.plot([x], [sum(rates) / len(rates)], "o", color=COLOURS[0], markersize=6)
            points.append((x, sum(rates) / len(rates), f"{pair['a']}, {pair['b']}"))
        if len(points) <= 21:
            _name(axes, points)
        each = results["ordering"][name]
        axes.set_xlabel(f"{TERMS[name]} (median over images)" if name != "similarity" else "S (mean cosine)")
        sign = "rising" if each["expected_sign"] > 0 else "falling"
        axes.set_title(f"theorem: {sign}; measured {_correlation(each)}", fontsize=8)
        plain(axes)
    panels[0].set_ylabel("attack success rate (%)")
    figure.suptitle(f"{TITLE}: measured transfer beside the terms of its bound; rank correlation [95 %]\n"
                    f"{caption(record)}; Euclidean eps {results['eps_l2']:.3g}; blue: mean of both directions, grey: "
                    "each", fontsize=9, x=0.01, ha="left")
    return {"": figure}


def _name(axes: Axes, points: list[tuple[float, float, str]]) -> None:
    """A name right of each point, moved up where it would cover another."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    axes.set_xlim(left, right + 0.22 * (right - left))
    placed: list[tuple[float, float]] = []
    for x, y, text in sorted(points, key=lambda point: point[1]):
        height = y
        while any(abs(x - other) < 0.25 * (right - left) and abs(height - there) < 0.033 * (high - low)
                  for other, there in placed):
            height += 0.004 * (high - low)
        placed.append((x, height))
        axes.annotate(text, (x, y), (x + 0.03 * (right - left), height), fontsize=6.5, color="0.2", va="center",
                      arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.5})
