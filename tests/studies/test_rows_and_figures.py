"""Reports of studies: every number of a record reaches the reader, and published ones are marked as such."""

from __future__ import annotations

from typing import Any

import pytest

from rnabench.reference import published
from rnabench.report.study import caption, family
from rnabench.studies import theory
from rnabench.studies.gradient_similarity import GradientSimilarity
from rnabench.studies.path_difference import PathDifference
from rnabench.studies.transfer_matrix import TransferMatrix


def model(label: str, space: str, objective: str = "black-box") -> dict[str, Any]:
    return {"label": label, "space": space, "arch": "resnet18", "width": 16, "objective": objective}


def record(results: dict[str, Any], *models: dict[str, Any], data: str = "cifar10", attack: str = "pgd7"
           ) -> dict[str, Any]:
    return {"models": list(models), "data": {"name": data, "indices": list(range(1000)), "classes": ["a", "b"]},
            "keys": {"norm": "Linf", "attack": attack, "eps": 8 / 255, "step_size": 2 / 255},
            "attack": {"name": attack, "eps": 8 / 255, "step_size": 2 / 255}, "results": results}


def matrix(*spaces: str, data: str = "cifar10") -> dict[str, Any]:
    size = len(spaces)
    cells = [[{"accuracy": (10 * a + b) / 100, "interval95": [0.0, 1.0], "success": None if a == b else 0.5,
               "success_interval95": None if a == b else [0.4, 0.6], "counted": 3.0, "draws": 1} for b in range(size)]
             for a in range(size)]
    return record({"subjects": [{"label": s, "space": None} for s in spaces], "cells": cells},
                  *(model(space, space) for space in spaces), data=data)


def test_the_caption_says_model_data_attack_and_how_many() -> None:
    said = caption(matrix("bn", "ln"))
    for part in ("resnet18 width 16", "adversarially trained", "cifar10", "1,000 test images", "PGD-7",
                 "Linf eps 8/255", "step 2/255"):
        assert part in said
    assert "naturally trained" in caption(record({}, model("bn", "bn", "standard")))


def test_every_heat_map_cell_has_its_number() -> None:
    found = matrix("bn", "in", "ln")
    left, right = TransferMatrix.figures(found)[""].axes[:2]
    assert [text.get_text() for text in left.texts if "\n" not in text.get_text() and "[" not in text.get_text()] == [
        f"{10 * a + b:.1f}" for a in range(3) for b in range(3)]
    assert sum(text.get_text() == "50.0" for text in right.texts) == 6
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in (left, right))


def test_published_cells_are_marked_and_only_where_they_belong() -> None:
    """The paper states BN to LN and IN to LN of Figure 1 d."""
    accuracy = TransferMatrix.tables(matrix("bn", "in", "ln"))[0][2]
    marked = [(a, b) for a, row in enumerate(accuracy) for b, cell in enumerate(row[1:]) if "paper" in cell]
    assert marked == [(0, 2), (1, 2)]
    assert "(paper 71.3)" in accuracy[0][3]
    others = [matrix("bn", "in", "ln", data="digits"), matrix("bn", "in", "ln", data="cifar100")]
    for change in ({"norm": "L2"}, {"eps": 4 / 255}, {"name": "pgd20"}):
        other = matrix("bn", "in", "ln")
        others.append(other | {"keys": other["keys"] | change, "attack": other["attack"] | change})
    for other in others:
        assert not any("paper" in cell for row in TransferMatrix.tables(other)[0][2] for cell in row)


def test_published_points_of_figure_5c() -> None:
    points = [{"difference": d, "accuracy": 0.5, "low95": 0.4, "high95": 0.6, "by_pair": [0.4, 0.6], "share": 1 / 21,
               "gain": [0.1, 0.0, 0.2]}
              for d in range(21)]
    curve = {"label": "rna", "layers": 20, "points": points, "expected": {"accuracy": 0.5, "interval95": [0.4, 0.6]}}
    rows = PathDifference.rows(record({"curves": [curve]}, model("rna", "bn+in"), attack="pgd20"))
    stated = float(published("figure5c")[0]["accuracy_percent"])
    assert {row["difference"]: row["paper_percent"] for row in rows if row["paper_percent"]} == {10: stated}
    axes = PathDifference.figures(record({"curves": [curve]}, model("rna", "bn+in"), attack="pgd20"))[""].axes[0]
    assert any("published" in label for label in axes.get_legend_handles_labels()[1])


@pytest.mark.parametrize(("space", "expected"), [("bn", "BGN"), ("bgn32", "BGN"), ("bgn[4]", "BGN"), ("in", "GN"),
                                                 ("in-plain", "GN"), ("bn+in-plain", None),
                                                 ("ln", "GN"), ("gn32", "GN"), ("gn[1-64]", "GN"), ("bn+in", None),
                                                 (None, None)])
def test_families_of_section_3_1(space: str | None, expected: str | None) -> None:
    assert family(space) == expected


def test_similarity_is_summed_up_by_family() -> None:
    spaces, means = ["bn", "bgn8", "in"], [[1.0, 0.8, 0.1], [0.8, 1.0, 0.3], [0.1, 0.3, 1.0]]
    cells = [[{"mean": value, "error": 0.0, "quantiles": [value] * 5, "undefined": 0, "values": [value]}
              for value in row] for row in means]
    subjects = [{"label": space, "space": None} for space in spaces]
    said = GradientSimilarity.findings(record({"subjects": subjects, "cells": cells},
                                              *(model(s, s) for s in spaces)))
    assert "within BGN 0.80 to 0.80 (mean 0.80, 1 pair)" in said[0]
    assert "between the families 0.10 to 0.30 (mean 0.20, 2 pairs)" in said[0]


@pytest.mark.parametrize(("interval", "sign", "verdict"), [
    ([0.1, 0.5], 1, "holds"), ([-0.5, -0.1], 1, "is reversed"), ([-0.5, -0.1], -1, "holds"),
    ([-0.1, 0.4], 1, "is not shown either way"), ([None, None], 1, "cannot be told"),
])
def test_the_verdict_on_an_order(interval: list[float | None], sign: int, verdict: str) -> None:
    assert theory._verdict({"interval95": interval, "expected_sign": sign}) == verdict
