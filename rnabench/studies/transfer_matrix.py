"""The transfer matrix (Figure 1 c/d; the thesis, Tables 3.1 to 3.3): what adversarial images made on one network, or on
an ensemble of networks, do to another, as table and heat maps."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from textwrap import fill
from typing import TYPE_CHECKING, Any

from pydantic import StrictBool

from rnabench.reference import published
from rnabench.report.figure import heatmap, new_figure
from rnabench.report.study import caption, like_the_paper, spaces, with_interval
from rnabench.settings.base import Draws, setting
from rnabench.settings.studies import Record, Results, Splitting, Table, study
from rnabench.settings.transferring import Transferring

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rnabench.studies.measure.subject import Networks
    from rnabench.studies.measure.work import Work

ITSELF = "itself"  # the column of what ensembles do to themselves
OF_ENSEMBLES = """
An ensemble's logits are the weighted mean of its members'; **itself**: what they say of images made on it. A member
(marked *) is attacked among others; the networks that an ensemble holds out meet it as a black box."""
OF_THE_POOL = """
Only images count that every network classifies correctly before any attack: success is 100 % less accuracy."""


@dataclass(frozen=True)
class Row:
    """What a record has of one attack on one source: a cell for each target, and for an ensemble one for itself."""

    attack: str
    source: str
    place: int
    cells: list[dict[str, Any]]
    members: frozenset[str] | None = None

    def kind(self, target: str) -> str:
        """What the source is to the target: the network itself, an ensemble that it is in, or another network."""
        if self.members is not None and target in self.members:
            return "member"
        return "white box" if target == self.source else "black box"


def matrix_rows(record: Record) -> list[Row]:
    """All attacks on all sources; the order of the record."""
    results = record["results"]
    names = [subject["label"] for subject in results["subjects"]]
    ensembles = results.get("ensembles", [])
    sources = names + [ensemble["label"] for ensemble in ensembles]
    members = [None] * len(names) + [frozenset(ensemble["weights"]) for ensemble in ensembles]
    matrices = results.get("matrices") or [{"attack": (record["attack"] or {}).get("name"), "cells": results["cells"]}]
    return [Row(matrix["attack"], source, place, row, of) for matrix in matrices for place, (source, of, row) in
            enumerate(zip(sources, members, matrix["cells"], strict=True))]


@study
class TransferMatrix(Transferring, Splitting):
    """Attack each network, and let every other one predict the images (Figure 1 c/d)."""

    name = "transfer-matrix"
    title = "Transfer matrix"
    accuracy_by = ("source", "target", "attack")
    later = (*Transferring.later, "common")
    legend = """\
Rows: the network that the images are made on. Columns: the network that predicts. The diagonal is the white-box attack:
one network on one path, or, where a network draws, one path per group that also predicts (`same-path`); off the
diagonal such a target predicts with fresh paths. **accuracy**: of the target on the source's images, with 95 %
intervals. **success**: of the images (and draws) that both classify correctly before the attack, those that the target
gets wrong after it."""
    draws: Draws = 20
    common: StrictBool = setting(False, "Count only images that all networks classify correctly before the attack.",
                                 "Data")

    def passes(self, layers: int, models: int, classes: int) -> tuple[float, float]:
        gradients, forwards = self.attack_passes(classes)
        among = models - 1 if self.ensembles == "hold-out" else 1 if self.ensembles else 0  # that a network is in
        return gradients * (1 + among), forwards * (1 + among) + models * len(self.specs)

    def compute(self, networks: Networks, classes: int, work: Work) -> Results:
        from rnabench.scoring.outcome import bits
        from rnabench.studies.measure.subject import described, subjects
        from rnabench.studies.measure.transfer import compared, transfers

        chosen = subjects(networks, self.paths, self.seed)
        ensembles = self.ensembles_of([subject.label for subject in chosen])
        found = transfers(chosen, self.specs, self.evaluation(draws=self.draws), classes, work, ensembles, self.common)
        cells = [[[cell.as_json() for cell in row] for row in matrix] for matrix in found.matrices]
        results: Results = {"subjects": [described(subject) for subject in chosen]}
        if len(cells) == 1:
            results["cells"] = cells[0]
        else:
            results["matrices"] = [{"attack": spec.name, "cells": matrix}
                                   for spec, matrix in zip(self.specs, cells, strict=True)]
            results["compared"] = compared(found, [spec.name for spec in self.specs], len(chosen))
        if ensembles:
            results["ensembles"] = [{"label": name, "weights": weights} for name, weights in ensembles.items()]
        return results | ({"pool": bits(found.pool)} if found.pool is not None else {})

    @classmethod
    def rows(cls, record: Record) -> list[dict[str, Any]]:
        names = [subject["label"] for subject in record["results"]["subjects"]]
        return [
            {**({"attack": row.attack} if "matrices" in record["results"] else {}),
             "source": row.source, "target": target, "accuracy": cell["accuracy"], "low95": cell["interval95"][0],
             "high95": cell["interval95"][1], "success": cell["success"],
             "success_low95": (cell["success_interval95"] or [None, None])[0],
             "success_high95": (cell["success_interval95"] or [None, None])[1],
             "counted": cell["counted"], "draws": cell["draws"], "paper_percent": _paper(record, row, place)}
            for row in matrix_rows(record)
            for place, (target, cell) in enumerate(zip([*names, row.source], row.cells, strict=False))
        ]

    @classmethod
    def tables(cls, record: Record) -> list[Table]:
        results = record["results"]
        names, several = [subject["label"] for subject in results["subjects"]], "matrices" in results
        headings = ["source \\ target", *(["attack"] if several else []), *names,
                    *([ITSELF] if "ensembles" in results else [])]
        accuracy, success = [], []
        for row in _by_source(record):
            first = [row.source, *([row.attack] if several else [])]
            empty = [""] * (len(headings) - len(first) - len(row.cells))
            marks = ["*" if row.kind(target) == "member" else "" for target in [*names, ITSELF]]
            accuracy.append([*first, *(with_interval(cell["accuracy"], cell["interval95"]) + _mark(record, row, place)
                                       + marks[place] for place, cell in enumerate(row.cells)), *empty])
            success.append([*first, *(with_interval(cell["success"], cell["success_interval95"]) + marks[place]
                                      for place, cell in enumerate(row.cells)), *empty])
        tables = [("Accuracy of the target, %", headings, accuracy), ("Attack success rate, %", headings, success)]
        return tables[1:] if "pool" in results else tables  # where success is 100 % less accuracy

    @classmethod
    def legend_of(cls, record: Record) -> str:
        results = record["results"]
        return cls.legend + (OF_ENSEMBLES if "ensembles" in results else "") + (
            OF_THE_POOL if "pool" in results else "")

    @classmethod
    def findings(cls, record: Record) -> list[str]:
        rows = matrix_rows(record)
        size = len(record["results"]["subjects"])
        if size < 2:
            return []
        said = [] if "pool" not in record["results"] else [
            f"All networks classify {record['results']['pool'].count('1'):,} of "
            f"{len(record['results']['pool']):,} images correctly before the attack: only these count."]
        for attack in dict.fromkeys(row.attack for row in rows):
            of_attack = [row for row in rows if row.attack == attack]
            said += _of_networks([row for row in of_attack if row.members is None],
                                 f"{attack}: white-box" if "matrices" in record["results"] else "White-box")
            said += _of_ensembles([row for row in of_attack if row.members is not None], record)
        for attack, pairs in groupby(record["results"].get("compared", ()), key=lambda pair: str(pair["attack"])):
            gaps = ", ".join(f"{pair['than']} {100 * pair['gap']:+.1f} [{100 * pair['interval95'][0]:+.1f}, "
                             f"{100 * pair['interval95'][1]:+.1f}]" for pair in pairs)
            said.append(f"On images made on another network, accuracy after {attack} less that after {gaps} points, "
                        "paired.")
        return said

    @classmethod
    def figures(cls, record: Record) -> dict[str, Figure]:
        results, rows = record["results"], _by_source(record)
        names = [subject["label"] for subject in results["subjects"]]
        several, columns = "matrices" in results, [*names, *([ITSELF] if "ensembles" in results else [])]
        labels = [f"{row.source}: {row.attack}" if several else row.source for row in rows]
        width, height = 1.0 + 0.85 * len(columns), 1.0 + 0.85 * len(rows)
        most = max(10.0, *(100 * (cell["success"] or 0) for row in rows for cell in row.cells))
        panels = 1 if "pool" in results else 2  # where success is 100 % less accuracy, one says both
        margin = 0.08 * max(map(len, labels)) + (0 if panels == 2 else 1.5)
        size = (panels * width + margin, 1.7 + 0.5 * len(rows)) if several else (panels * width + 1.6, height + 0.9)
        figure, grid = new_figure(*size, 1, panels, squeeze=False)
        left, right = grid[0, 0], grid[0, -1]
        none: list[Any] = [None] * len(columns)
        if panels == 2:
            heatmap(left, [([100 * cell["accuracy"] for cell in row.cells] + none)[: len(columns)] for row in rows],
                    [[_text(cell["accuracy"], cell["interval95"], _mark(record, row, place))
                      for place, cell in enumerate(row.cells)] for row in rows],
                    labels, columns, 0, 100, "accuracy of the target (%) [95 %]")
        heatmap(right, [([None if cell["success"] is None else 100 * cell["success"] for cell in row.cells] + none)
                        [: len(columns)] for row in rows],
                [[_text(cell["success"], cell["success_interval95"], "") for cell in row.cells] for row in rows],
                labels, columns, 0, most, "attack success rate (%) [95 %]")
        for axes in grid[0]:
            axes.set_xlabel("target: the network that predicts")
            axes.set_ylabel("source: the network attacked")
            if several:
                axes.set_aspect("auto")
                for place in range(1, len(rows)):  # a line between sources
                    if rows[place].source != rows[place - 1].source:
                        axes.axhline(place - 0.5, color="white", linewidth=3)
        if several and panels == 2:  # the same rows
            right.set_yticks([])
            right.set_ylabel("")
        counts = "images that all networks" if "pool" in results else "images that source and target"
        title = f"{cls.title}: {caption(record)}"
        figure.suptitle((fill(title, int(14 * size[0])) if several else title) + f"\nsuccess counts {counts} classify "
                        "correctly before the attack; diagonal: white box", fontsize=9, x=0.01, ha="left")
        return {"": figure}


def _by_source(record: Record) -> list[Row]:
    """All attacks on the first source, then on the second, as the thesis has its tables."""
    return sorted(matrix_rows(record), key=lambda row: row.place)


def _of_networks(rows: list[Row], white_box: str) -> list[str]:
    size = range(len(rows))
    cells = [row.cells for row in rows]
    own = [cells[a][a]["accuracy"] for a in size]
    others = [cells[a][b]["accuracy"] for a in size for b in size if a != b]
    higher = sum(cells[a][b]["accuracy"] > cells[b][b]["accuracy"] for a in size for b in size if a != b)
    sentence = (
        f"{white_box} accuracy is {_range(own)} %, accuracy on images made on another network {_range(others)} %; in "
        f"{higher} of {len(others)} pairs the target does better than under its own white-box attack.")
    by_source = sorted((sum(cells[a][b]["success"] or 0 for b in size if b != a) / (len(cells) - 1), a) for a in size)
    order = ", ".join(f"{rows[a].source} {100 * rate:.1f}" for rate, a in by_source)
    return [sentence, f"Mean success on the other networks by source, %: {order}."]


def _of_ensembles(rows: list[Row], record: Record) -> list[str]:
    names = [subject["label"] for subject in record["results"]["subjects"]]
    said = []
    for row in rows:
        outside = [f"{name} {_percent(cell['success'])}" for name, cell in zip(names, row.cells, strict=False)
                   if row.kind(name) == "black box"]
        held_out = f", on networks outside it: {', '.join(outside)}" if outside else ""
        said.append(f"Ensemble {row.source}: success on itself {_percent(row.cells[-1]['success'])} %{held_out}.")
    return said


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _text(share: float | None, interval: list[float] | None, mark: str) -> str:
    if share is None:
        return "-"
    low, high = interval or (share, share)
    return f"{100 * share:.1f}\n[{100 * low:.0f}, {100 * high:.0f}]{mark.replace(' (', chr(10) + '(')}"


def _paper(record: Record, row: Row, target: int) -> float | None:
    """The published accuracy of a cell of Figure 1 d; few are stated."""
    if not like_the_paper(record) or row.attack != "pgd7" or row.members is not None:
        return None
    names = spaces(record)
    found = published("figure1d", space=names[row.place], column=f"pgd7 on {names[target]}")
    return float(found[0]["accuracy_percent"]) if found else None


def _mark(record: Record, row: Row, target: int) -> str:
    number = _paper(record, row, target)
    return "" if number is None else f" (paper {number:.1f})"


def _range(shares: list[float]) -> str:
    return f"{100 * min(shares):.1f} to {100 * max(shares):.1f}"
