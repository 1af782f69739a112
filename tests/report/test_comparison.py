"""The table beside the paper's: every published number once, every measured one where it belongs."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from rnabench.reference import published
from rnabench.report.comparison import comparison, published_numbers, write_comparison
from rnabench.report.record import Record
from rnabench.report.record_file import read_record
from rnabench.settings.recipe import Defined, Recipe
from rnabench.settings.recipe_loading import load_recipe
from tests.report.records import changed

ROOT = Path(__file__).parents[2]
DEFINED = {"bn": Defined(dataset="cifar10", space="bn"), "bn+in": Defined(dataset="cifar10", space="bn+in")}


@pytest.fixture
def records() -> list[Record]:
    return [read_record(ROOT / "results" / "quickstart-suites" / f"{name}.json") for name in DEFINED]


def test_every_published_number_stands_there_once(records: list[Record]) -> None:
    found = comparison(records, "table1", DEFINED)
    shown = [float(number) for _, cells in found.lines for cell in cells
             for number in re.findall(r"\(paper ([\d.]+)\)", cell)]
    assert sorted(shown) == sorted(float(row["accuracy_percent"]) for row in published("table1"))
    assert all(len(cells) == len(found.headings) for _, cells in found.lines)
    assert [name for name, _ in found.lines][:2] == ["bn", "bn+in"]
    assert all(name.endswith("not run") for name, _ in found.lines[2:])


def test_every_measured_number_stands_in_its_column(records: list[Record]) -> None:
    found = comparison(records, "table1", DEFINED)
    lines = dict(found.lines)
    assert "autoattack eot:20" in found.headings
    assert "worst case eot:20" in found.headings
    for record in records:
        cells = dict(zip(found.headings, lines[record.label], strict=True))
        for result in record.results:
            if result.attack in found.headings and result.protocol in ("paper", "any"):
                assert cells[result.attack].startswith(f"{100 * result.accuracy:.1f} ± ")
            if result.protocol.startswith("eot:"):
                cell = cells[f"{result.attack} {result.protocol}"]
                assert cell.startswith(f"{100 * result.accuracy:.1f} ± ")
                assert cell.endswith("!") == result.unreliable
                low, high = result.interval95
                half = float(re.findall(r"± ([\d.]+)", cell)[0])
                assert abs(half - 100 * max(high - result.accuracy, result.accuracy - low)) < 0.051


def test_a_single_path_has_one_number_under_all_protocols(records: list[Record]) -> None:
    found = comparison(records, "table1", DEFINED)
    cells = dict(zip(found.headings, dict(found.lines)["bn"], strict=True))
    assert cells["pgd20"].startswith(cells["pgd20 eot:20"])


def test_training_and_constraint_tell_rows_apart() -> None:
    free = Defined(dataset="cifar10", space="bgn+gn[1-64]")
    based = free.model_copy(update={"layer_based": True})
    white = Defined(dataset="cifar10", space="gn[1-64]", layer_based=True, objective="white-box")
    assert published_numbers("table5", free)["natural"] == 61.72
    assert published_numbers("table5", based)["natural"] == 73.81
    assert published_numbers("table5", white)["natural"] == 75.50
    assert published_numbers("table5", Defined(dataset="cifar10", space="in+bn"))["pgd20"] == 60.69
    assert not published_numbers("table5", Defined(dataset="cifar100", space="bn+in"))


def test_the_three_files_say_the_same(records: list[Record], tmp_path: Path) -> None:
    recipe: Recipe = load_recipe(ROOT / "recipes" / "table1.yaml", "smoke")
    recipe = recipe.model_copy(update={"defined": DEFINED})
    write_comparison(records, recipe, tmp_path)
    table = pd.read_csv(tmp_path / "paper.csv", keep_default_na=False)
    page, tex = (tmp_path / "paper.md").read_text(), (tmp_path / "paper.tex").read_text()
    for line in table.itertuples(index=False):
        assert " ".join(line) in [" ".join(text.replace("|", " ").split()) for text in page.splitlines()]
        cells = [cell.replace("±", r"$\pm$") for cell in line]
        assert any(all(cell in text for cell in cells) for text in tex.splitlines())
    assert "profile smoke" in page
    assert "not, as the paper's numbers, on cifar10" in page
    assert tex.count(r"\\") == 1 + len(table)


def test_an_attack_with_other_parameters_stands_in_its_column_under_its_own_name(records: list[Record]) -> None:
    exact = comparison(records, "table1", DEFINED)
    records = [changed(record, results=[
        result.content() | ({"attack": "cw20", "parameters": result.parameters | {"steps": 20}}
                            if result.attack == "cw" else {}) for result in record.results]) for record in records]
    found = comparison(records, "table1", DEFINED)
    assert [heading.replace(" (here cw20)", "") for heading in found.headings] == list(exact.headings)
    assert found.headings.count("cw (here cw20)") == 1
    assert found.lines == exact.lines
    assert found.notes == ("The column cw holds cw20 here (steps 20, the paper's 1000).",)
    assert exact.notes == ()
    records = [changed(record, results=[  # another of its kind: which of them is the paper's?
        content for result in record.results for content in (
            result.content(), *([result.content() | {"attack": "cw30"}] if result.attack == "cw20" else []))])
        for record in records]
    assert set(exact.headings) == set(comparison(records, "table1", DEFINED).headings)
