"""The transfer matrix (Figure 1 c/d): what adversarial images made on one network do to another, as table and heat
maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnabench.reference import published
from rnabench.report.figure import heatmap, new_figure
from rnabench.report.study import caption, like_the_paper, spaces, with_interval
from rnabench.settings.base import Draws
from rnabench.settings.studies import Attacking, Record, Results, Splitting, Table, study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rnabench.studies.measure.subject import Networks
    from rnabench.studies.measure.work import Work


@study
class TransferMatrix(Attacking, Splitting):
    """Attack each network, and let every other one predict the images (Figure 1 c/d)."""

    name = "transfer-matrix"
    title = "Transfer matrix"
    accuracy_by = ("source", "target")
    legend = """\
Rows: the network that the images are made on. Columns: the network that predicts. The diagonal is the white-box attack:
one network on one path, or, where a network draws, one path per group that also predicts (`same-path`); off the
diagonal such a target predicts with fresh paths. **accuracy**: of the target on the source's images, with 95 %
intervals. **success**: of the images (and draws) that both classify correctly before the attack, those that the target
gets wrong after it."""

    draws: Draws = 20

    def passes(self, layers: int, models: int, classes: int) -> tuple[float, float]:
        gradients, forwards = self.attack_passes(classes)
        return gradients, forwards + models

    def compute(self, networks: Networks, classes: int, work: Work) -> Results:
        from rnabench.studies.measure.subject import described, subjects
        from rnabench.studies.measure.transfer import transfer

        chosen = subjects(networks, self.paths, self.seed)
        matrix = transfer(chosen, self.spec, self.evaluation(draws=self.draws), classes, work)
        return {"subjects": [described(subject) for subject in chosen],
                "cells": [[cell.as_json() for cell in row] for row in matrix]}

    @classmethod
    def rows(cls, record: Record) -> list[dict[str, Any]]:
        names = [subject["label"] for subject in record["results"]["subjects"]]
        return [
            {"source": names[a], "target": names[b], "accuracy": cell["accuracy"], "low95": cell["interval95"][0],
             "high95": cell["interval95"][1], "success": cell["success"],
             "success_low95": (cell["success_interval95"] or [None, None])[0],
             "success_high95": (cell["success_interval95"] or [None, None])[1],
             "counted": cell["counted"], "draws": cell["draws"], "paper_percent": _paper(record, a, b)}
            for a, row in enumerate(record["results"]["cells"]) for b, cell in enumerate(row)
        ]

    @classmethod
    def tables(cls, record: Record) -> list[Table]:
        names = [subject["label"] for subject in record["results"]["subjects"]]
        cells = record["results"]["cells"]
        headings = ["source \\ target", *names]
        accuracy = [[names[a], *(with_interval(cell["accuracy"], cell["interval95"]) + _mark(record, a, b)
                                 for b, cell in enumerate(row))] for a, row in enumerate(cells)]
        success = [[names[a], *(with_interval(cell["success"], cell["success_interval95"]) for cell in row)]
                   for a, row in enumerate(cells)]
        return [("Accuracy of the target, %", headings, accuracy), ("Attack success rate, %", headings, success)]

    @classmethod
    def findings(cls, record: Record) -> list[str]:
        cells = record["results"]["cells"]
        size = range(len(cells))
        if len(cells) < 2:
            return []
        own = [cells[a][a]["accuracy"] for a in size]
        others = [cells[a][b]["accuracy"] for a in size for b in size if a != b]
        higher = sum(cells[a][b]["accuracy"] > cells[b][b]["accuracy"] for a in size for b in size if a != b)
        sentence = (
            f"White-box accuracy is {_range(own)} %, accuracy on images made on another network {_range(others)} %; in "
            f"{higher} of {len(others)} pairs the target does better than under its own white-box attack.")
        by_source = sorted((sum(cells[a][b]["success"] or 0 for b in size if b != a) / (len(cells) - 1), a)
                           for a in size)
        names = [subject["label"] for subject in record["results"]["subjects"]]
        order = ", ".join(f"{names[a]} {100 * rate:.1f}" for rate, a in by_source)
        return [sentence, f"Mean success on the other networks by source, %: {order}."]

    @classmethod
    def figures(cls, record: Record) -> dict[str, Figure]:
        names = [subject["label"] for subject in record["results"]["subjects"]]
        cells = record["results"]["cells"]
        side = 1.0 + 0.85 * len(names)
        most = max(10.0, *(100 * (cell["success"] or 0) for row in cells for cell in row))
        figure, (left, right) = new_figure(2 * side + 1.6, side + 0.9, 1, 2)
        heatmap(left, [[100 * cell["accuracy"] for cell in row] for row in cells],
                [[_text(cell["accuracy"], cell["interval95"], _mark(record, a, b)) for b, cell in enumerate(row)]
                 for a, row in enumerate(cells)],
                names, names, 0, 100, "accuracy of the target (%) [95 %]")
        heatmap(right, [[None if cell["success"] is None else 100 * cell["success"] for cell in row] for row in cells],
                [[_text(cell["success"], cell["success_interval95"], "") for cell in row] for row in cells],
                names, names, 0, most, "attack success rate (%) [95 %]")
        for axes in (left, right):
            axes.set_xlabel("target: the network that predicts")
            axes.set_ylabel("source: the network attacked")
        figure.suptitle(f"{cls.title}: {caption(record)}\nsuccess counts images that source and target classify "
                        "correctly before the attack; diagonal: white box", fontsize=9, x=0.01, ha="left")
        return {"": figure}


def _text(share: float | None, interval: list[float] | None, mark: str) -> str:
    if share is None:
        return "-"
    low, high = interval or (share, share)
    return f"{100 * share:.1f}\n[{100 * low:.0f}, {100 * high:.0f}]{mark.replace(' (', chr(10) + '(')}"


def _paper(record: Record, source: int, target: int) -> float | None:
    """The published accuracy of a cell of Figure 1 d; few are stated."""
    if not like_the_paper(record) or record["attack"]["name"] != "pgd7":
        return None
    names = spaces(record)
    found = published("figure1d", space=names[source], column=f"pgd7 on {names[target]}")
    return float(found[0]["accuracy_percent"]) if found else None


def _mark(record: Record, source: int, target: int) -> str:
    number = _paper(record, source, target)
    return "" if number is None else f" (paper {number:.1f})"


def _range(shares: list[float]) -> str:
    return f"{100 * min(shares):.1f} to {100 * max(shares):.1f}"
