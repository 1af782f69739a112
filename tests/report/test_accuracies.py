"""Results read back: studies are cells too, and what is damaged is told in one line."""

from __future__ import annotations

import copy
import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rnabench.errors import RnabenchError
from rnabench.report.accuracies import read_accuracies
from rnabench.report.regression import compare
from tests.report.planted import RESULTS, Records, kinds, removed, set_at


@pytest.fixture
def figures(tmp_path: Path) -> Path:
    for file in (RESULTS / "figures-digits").glob("*.json"):
        (tmp_path / file.name).write_text(file.read_text())
    return tmp_path


def test_studies_are_cells_too(figures: Path) -> None:
    old = read_accuracies(RESULTS / "figures-digits", "old")
    same = compare(read_accuracies(figures, "new"), old)
    assert not same.failed
    matrix = json.loads((figures / "figure1d.json").read_text())
    spot = matrix["results"]["cells"][0][1]
    spot |= {"accuracy": spot["accuracy"] - 0.3, "interval95": [end - 0.3 for end in spot["interval95"]]}
    (figures / "figure1d.json").write_text(json.dumps(matrix))
    fell = compare(read_accuracies(figures, "new"), old)
    assert [line.name for line in fell.lines if line.problems] == [
        ("figure1d", "source bn, target bgn4", "transfer-matrix")]
    (figures / "figure2.json").unlink()  # has no accuracies: its cells cannot vanish
    assert kinds(compare(read_accuracies(figures, "new"), old)) == {"fell", "records vanished"}
    assert not compare(read_accuracies(RESULTS / "figures-digits" / "table.csv", "new"), old).failed


@pytest.mark.parametrize(("column", "value"), [("accuracy", "nan"), ("accuracy", "75"), ("low95", "x"), ("eps", ""),
                                               ("unreliable", "no"), ("images", "3.5"), ("high95", None)])
def test_a_damaged_table_is_told_with_its_line(column: str, value: str | None, tmp_path: Path) -> None:
    rows = list(csv.DictReader((RESULTS / "quickstart" / "table.csv").open()))
    if value is None:
        rows = [{name: cell for name, cell in row.items() if name != column} for row in rows]
    else:
        rows[1][column] = value
    with (tmp_path / "table.csv").open("w") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(RnabenchError, match="line 3" if value is not None else f"no {column}") as caught:
        read_accuracies(tmp_path, "results")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [removed("bn", "model"), removed("bn", "results", 1, "accuracy"),
                                    set_at(float("nan"), "bn", "results", 1, "accuracy"),
                                    set_at(99, "bn", "format"), set_at("bn", "bn+in", "model", "label")])
def test_a_damaged_record_is_told_in_one_line(change: Callable[[Records], None], committed: Records, tmp_path: Path
                                              ) -> None:
    records = copy.deepcopy(committed)
    change(records)
    for name, record in records.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
    with pytest.raises(RnabenchError, match="expected") as caught:
        read_accuracies(tmp_path, "results")
    assert "\n" not in str(caught.value)


def test_a_study_that_is_not_installed_is_told(figures: Path) -> None:
    """Its accuracies would go uncompared without a word."""
    record = json.loads((figures / "figure1d.json").read_text())
    (figures / "figure1d.json").write_text(json.dumps(record | {"study": "theirs"}))
    with pytest.raises(RnabenchError, match=r"figure1d.json' cannot be used \(ValueError: study 'theirs', not one of "):
        read_accuracies(figures, "new")
