"""A recipe with seeds from end to end: every training is trained and attacked once, and shared with other recipes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from rnabench.cli.main import main
from rnabench.jobs.plan import forecast
from rnabench.jobs.reproduce import Place, reproduce
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import StopRequest
from rnabench.settings.recipe import Recipe
from rnabench.settings.recipe_loading import load_recipe

TEXT = """\
name: seeds
title: Seeds
train: {width: 8, steps: 1, epochs: 1, n_train: 64, n_holdout: 16, batch_size: 32}
models: {bn: {space: bn}, rna: {space: bn+in, seeds: [1, 0]}}
baseline: bn
published: table1
claims: [{says: rna is better, higher: rna, lower: [bn], attack: fgsm}]
evaluate: {attacks: [fgsm], protocols: [paper, "eot:2"], n_examples: 8, batch_size: 4, draws: 2, sanity: false}
"""


class Forbidden(Silent):
    def begin(self, title: str, total: int, done: int = 0) -> None:
        raise AssertionError(title)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the whole recipe was reproduced."""
    folder = tmp_path_factory.mktemp("seeds")
    (folder / "seeds.yaml").write_text(TEXT)
    with pytest.raises(SystemExit) as end:
        main(["reproduce", str(folder / "seeds.yaml"), "--runs", str(folder / "runs"), "--out", str(folder), "--device",
              "cpu"])
    assert end.value.code == 0
    return folder


def other(folder: Path, text: str) -> tuple[Recipe, Place]:
    file = folder / "other.yaml"
    file.write_text(text.replace("name: seeds", "name: other"))
    return load_recipe(file), Place(folder / "runs", folder / "other", "cpu")


def test_every_training_has_a_record_and_people_read_one_row(folder: Path) -> None:
    names = {"bn": ("bn", 0), "rna.s0": ("rna", 0), "rna.s1": ("rna", 1)}
    records = {name: json.loads((folder / "seeds" / f"{name}.json").read_text()) for name in names}
    assert {name: (each["model"]["method"], each["model"]["training_seed"]) for name, each in records.items()} == names
    assert len({record["model"]["weights_sha256"] for record in records.values()}) == 3
    assert len({record["evaluation"]["seed"] for record in records.values()}) == 1
    assert all(records[name]["baseline"]["digest"] == records["bn"]["digest"] for name in ("rna.s0", "rna.s1"))
    lines = list(csv.DictReader((folder / "seeds" / "table.csv").open()))
    assert list(dict.fromkeys(line["model"] for line in lines)) == ["bn", "rna.s1", "rna.s0"]
    for file in ("table.md", "paper.md"):
        text = (folder / "seeds" / file).read_text()
        assert "| rna (2 trainings)" in text
        assert "| rna.s" not in text
    assert "The paper: rna is better. Here rna, fgsm, one training each" in text


def test_nothing_is_done_twice(folder: Path) -> None:
    recipe, place = other(folder, TEXT)
    assert [(piece.name, piece.state) for piece in forecast(recipe, place)] == [
        (name, "done") for _ in range(2) for name in ("bn", "rna.s1", "rna.s0")]
    assert list(reproduce(recipe, recipe, place, Forbidden(), StopRequest()).table) == ["bn", "rna.s1", "rna.s0"]


def test_a_recipe_of_one_seed_has_the_record_under_its_own_names(folder: Path) -> None:
    recipe, place = other(folder, TEXT.replace("seeds: [1, 0]", "seeds: [0]"))
    found = reproduce(recipe, recipe, place, Forbidden(), StopRequest()).table
    assert {name: record.method for name, record in found.items()} == {"bn": "bn", "rna": "rna"}
    again, place = other(folder, TEXT)
    there = reproduce(again, again, place, Forbidden(), StopRequest()).table
    assert {record.method for record in there.values()} == {"bn", "rna"}
    assert there["rna.s0"].results == found["rna"].results
