"""Rows of methods: the mean over trainings, and the standard deviation between them."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from rnabench.report.accuracies import read_accuracies
from rnabench.report.comparison import comparison
from rnabench.report.methods import methods
from rnabench.report.record import Record
from rnabench.report.record_file import write_record
from rnabench.report.scores import judged, rows
from rnabench.report.table import display, legend, write_tables
from rnabench.settings.recipe import Defined
from tests.report.records import changed, model, trainings


@pytest.fixture
def records() -> list[Record]:
    return [judged(each) for each in (*trainings("a", [0.4, 0.6, 0.7]), model("b", 0.5, 9))]


def test_a_row_is_the_mean_over_trainings_and_their_standard_deviation(records: list[Record]) -> None:
    headings, shown = display(records)
    assert list(dict.fromkeys(row[0] for row in shown)) == ["a (3 trainings)", "b"]
    cells = {row[:3]: dict(zip(headings, row, strict=True)) for row in shown}
    for attack, protocol in {row[1:3] for row in shown}:
        own = [row for row in rows(records) if (row["attack"], row["protocol"]) == (attack, protocol)]
        several, alone = (cells[name, attack, protocol] for name in ("a (3 trainings)", "b"))
        accuracies = [100 * row["accuracy"] for row in own[:3]]
        assert several["accuracy %"].rstrip("!") == f"{np.mean(accuracies):.1f} ± {np.std(accuracies, ddof=1):.1f}"
        assert several["worst"] == f"{100 * np.mean([row['worst_of_draws'] for row in own[:3]]):.1f}"
        assert several["95 % interval"] == "-"
        assert alone["accuracy %"].rstrip("!") == f"{100 * own[3]['accuracy']:.1f}"
    assert "standard deviation over trainings" in " ".join(legend(records).split())
    assert "standard deviation" not in legend(records[3:])


def test_the_csv_has_every_training_and_says_whose_it_is(records: list[Record], tmp_path: Path) -> None:
    write_tables(records, tmp_path, "Title")
    lines = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert len(lines) == len(rows(records))
    assert {(line["model"], line["method"], line["training_seed"]) for line in lines} == {
        ("a.s0", "a", "0"), ("a.s1", "a", "1"), ("a.s2", "a", "2"), ("b", "b", "9")}
    whole = read_accuracies(tmp_path / "table.csv", "new").cells
    for record in records:
        write_record(record, tmp_path / f"{record.label}.json")
    assert read_accuracies(tmp_path, "new").as_table().cells == whole


def test_beside_the_papers_numbers(records: list[Record]) -> None:
    found = comparison(records, "table1", {"a": Defined(dataset="cifar10", space="bn+in")})
    lines = {name: dict(zip(found.headings, cells, strict=True)) for name, cells in found.lines}
    accuracies = [100 * row["accuracy"] for row in rows(records[:3]) if row["attack"] == "fgsm"
                  and row["protocol"] == "paper"]
    mean, sd, paper = map(float, re.findall(r"[\d.]+", lines["a (3 trainings)"]["fgsm"]))
    assert (mean, sd) == pytest.approx((np.mean(accuracies), np.std(accuracies, ddof=1)), abs=0.051)
    assert paper == 63.10
    assert "(paper" not in lines["b"]["fgsm"]


def test_a_single_training_is_shown_as_before(records: list[Record]) -> None:
    alone = records[3]
    old = changed(alone, model={"method": None, "training_seed": None})
    assert display([old]) == display([alone])
    assert [method.title for method in methods([old])] == ["b"]


def test_what_a_run_without_seeds_left_is_a_row_of_its_own(records: list[Record]) -> None:
    left = judged(model("a", 0.9, 0))
    assert [method.title for method in methods([left, *records])] == ["a", "a (3 trainings)", "b"]


def test_a_row_is_unreliable_if_a_training_of_it_is(records: list[Record]) -> None:
    for place, record in enumerate(records):
        records[place] = changed(record, results=[result.content() | {"unreliable": (place, number) == (1, 1)}
                                                  for number, result in enumerate(record.results)])
    attack, protocol = records[1].results[1].attack, records[1].results[1].protocol
    marked = {row[:3] for row in display(records)[1] if row[3].endswith("!") and not row[1].startswith("worst")}
    assert marked == {("a (3 trainings)", attack, protocol)}
