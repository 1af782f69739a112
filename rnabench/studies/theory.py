"""Theorem 3.1 made measurable: the terms of its bound for every pair of networks, beside the measured transfer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import field_validator

from rnabench.errors import InvalidValue
from rnabench.report.figure import COLOURS, new_figure, plain
from rnabench.report.study import caption, with_interval
from rnabench.settings.attacks import parse_attack
from rnabench.settings.pixels import Length
from rnabench.settings.studies import LENGTHS, PATHS, RADIUS, Attacking, Record, Results, Splitting, Table, study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rnabench.studies.measure.subject import Networks
    from rnabench.studies.measure.work import Work

TERMS = {"risks": "R_a + R_b", "target_loss": "L(x, y_A)", "gradient": "gradient norm", "beta": "beta",
         "similarity": "S", "denominator": "denominator"}


FIXED = "normalisers or a number: the theorem is about fixed networks"


@study
class Theory(Attacking, Splitting):
    """The terms of Theorem 3.1's bound for every pair of networks, beside the measured transfer.

    A randomised network stands for fixed paths of its own.
    """

    name = "theory"
    title = "Theorem 3.1"
    legend = """\
**transfer**: attack success rate on images that both classify correctly, in both directions. Eq. 7: transfer <= (R_a +
R_b) / (min L(x, y_A) - max|grad L| eps (sqrt((1 + S)/2) + 1) - max(beta) eps^2), with mean losses R, the loss of the
likeliest wrong class y_A, Euclidean eps, and for beta the largest |grad(x + t d) - grad(x)| / t along the gradients'
directions d of both losses, up to eps. The theorem's T is over all images, so the bound is held against the share of
all images that both get right and the target then wrong. *extremes*: minimum and maxima over images, as the theorem
has them; *medians*: medians over images and the mean cosine instead. A denominator that is not positive bounds nothing
(**vacuous**). **rank correlation** (Spearman's) with the transfer rate, the mean of both directions, over all pairs of
networks; 95 % intervals are bootstrapped over images: they say how well the images determine the order of these
networks, not how other networks would come out."""

    paths: Annotated[str, PATHS] = "normalisers"
    radius: Annotated[Length | None, RADIUS] = None
    lengths: Annotated[int, LENGTHS] = 8

    @field_validator("attack")
    @classmethod
    def _bounded(cls, value: str | dict[str, Any]) -> str | dict[str, Any]:
        if not parse_attack(value).bounded:
            raise ValueError("expected an attack within eps: the theorem is about a ball")
        return value

    @property
    def length(self) -> float:
        """The eps in effect: the attack's own, if it has one."""
        return self.eps if self.spec.eps is None else self.spec.eps

    def misfits(self, options: Mapping[str, int]) -> Iterator[str]:
        if self.paths == "deployed" and any(count > 1 for count in options.values()):
            yield f"paths: 'deployed' is not valid; expected {FIXED}"
        yield from self.too_few(options)

    def passes(self, layers: int, models: int, classes: int) -> tuple[float, float]:
        gradients, forwards = self.attack_passes(classes)
        return gradients + 3.0 + 2 * self.lengths, forwards + models

    def compute(self, networks: Networks, classes: int, work: Work) -> Results:
        from rnabench.studies.measure.similarity import between_networks
        from rnabench.studies.measure.smoothness import longest_change
        from rnabench.studies.measure.subject import described, subjects
        from rnabench.studies.measure.theory import RESAMPLES, network_terms, order_of_pairs, terms_of_pairs
        from rnabench.studies.measure.transfer import transfer
        from rnabench.studies.measure.work import short

        chosen = subjects(networks, self.paths, self.seed)
        if len(chosen) < 2:
            raise InvalidValue("RUN", chosen[0].label, "at least two networks, or --paths of a randomised one")
        if any(subject.is_random for subject in chosen):
            raise InvalidValue("--paths", self.paths, FIXED)
        eps = longest_change(self.norm, self.length, next(work.source.in_order(1)).images)
        radius = self.radius or eps
        if radius == 0:
            raise InvalidValue("--eps", self.length, "more than 0")
        lengths = [radius * (step + 1) / self.lengths for step in range(self.lengths)]
        matrix = transfer(chosen, self.spec, self.evaluation(), classes, work)
        cosines = between_networks(chosen, self.seed, work)
        terms = [work(f"terms of {subject.label}", network_terms(subject, lengths)) for subject in chosen]
        return {
            "subjects": [described(subject) | {"terms": {name: short(values) for name, values in each.items()}}
                         for subject, each in zip(chosen, terms, strict=True)],
            "eps_l2": eps, "pairs": terms_of_pairs(chosen, terms, matrix, cosines, eps),
            "ordering": order_of_pairs(terms, matrix, cosines, eps, self.seed), "resamples": RESAMPLES,
            "cells": [[cell.as_json() for cell in row] for row in matrix],
            "cosines": [[short(cosines[:, a, b]) if a > b else None for b in range(len(chosen))]
                        for a in range(len(chosen))],
        }

    @classmethod
    def rows(cls, record: Record) -> list[dict[str, Any]]:
        return [
            {"a": pair["a"], "b": pair["b"], "over_images": kind, "transfer_a_to_b": pair["transfer"][0]["rate"],
             "transfer_b_to_a": pair["transfer"][1]["rate"], **pair[kind]}
            for pair in record["results"]["pairs"] for kind in ("extremes", "medians")
        ]

    @classmethod
    def tables(cls, record: Record) -> list[Table]:
        results = record["results"]
        found = []
        for kind in ("extremes", "medians"):
            lines = [[f"{pair['a']}, {pair['b']}",
                      *(with_interval(t["rate"], t["interval95"]) for t in pair["transfer"]),
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

    @classmethod
    def findings(cls, record: Record) -> list[str]:
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
        found.append(f"The order that the theorem predicts over all {len(pairs)} pairs {_verdict(whole)}: rank "
                     f"correlation of transfer with the denominator {_correlation(whole)} (the theorem: negative).")
        for name in ("similarity", "gradient", "beta", "risks"):
            each = results["ordering"][name]
            found.append(f"Of its terms, the order by {TERMS[name]} {_verdict(each)}: {_correlation(each)}.")
        return found

    @classmethod
    def figures(cls, record: Record) -> dict[str, Figure]:
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
        figure.suptitle(f"{cls.title}: measured transfer beside the terms of its bound; rank correlation [95 %]\n"
                        f"{caption(record)}; Euclidean eps {results['eps_l2']:.3g}; blue: mean of both directions, "
                        "grey: each", fontsize=9, x=0.01, ha="left")
        return {"": figure}


def _ordered(record: Record) -> bool:
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
