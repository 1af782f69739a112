"""Cells of a recipe, done one by one by anybody's engine: ids that stay, and the tables of a plain `reproduce`."""

from __future__ import annotations

import json
import os
import random
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from rnabench.cli.main import main
from rnabench.errors import InvalidValue
from rnabench.jobs.recipe_cells import choose, ids
from rnabench.settings.recipe import Recipe
from rnabench.settings.recipe_loading import load_recipe

ROOT = Path(__file__).parents[2]
TEXT = """\
name: tiny
title: Tiny
train: {width: 2, steps: 1, epochs: 1, n_train: 64, n_holdout: 16, batch_size: 32}
models: {bn: {space: bn}, bn+in: {space: bn+in, seeds: [0, 1]}, same: {space: bn},
         theirs: {import: "tests.cli.models:linear"}}
baseline: bn
evaluate: {attacks: [fgsm, fgsm@4/255], protocols: [paper, "eot:2"], n_examples: 8, batch_size: 4, draws: 2,
           sanity_examples: 4}
figures: {matrix: {study: transfer-matrix, models: [bn, bn+in], attack: fgsm, n_examples: 8, batch_size: 4, draws: 2}}
"""
SMALL = """\
name: tiny
title: Tiny
train: {width: 2, steps: 1, epochs: 1, n_train: 64, n_holdout: 16, batch_size: 32}
models: {bn+in: {space: bn+in}}
evaluate: {attacks: [fgsm], protocols: [paper], n_examples: 8, draws: 2, sanity: false}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    (tmp_path / "tiny.yaml").write_text(TEXT)


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exited:
        main(["reproduce", "tiny.yaml", *arguments])
    return int(exited.value.code or 0)


def planned(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, Any]]:
    """The cells of a plan by id."""
    capsys.readouterr()
    assert call("--plan", "--json", *arguments) == 0
    return {cell["id"]: cell for cell in json.loads(capsys.readouterr().out)["cells"]}


def results(folder: Path) -> dict[str, bytes]:
    """The files that hold no times."""
    return {file.name: file.read_bytes() for file in (folder / "tiny").iterdir() if file.suffix in (".csv", ".md")}


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe(Path("tiny.yaml"))


@pytest.mark.slow
def test_an_engine_of_ten_lines_in_processes_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    """That of the documentation."""
    (tmp_path / "tiny.yaml").write_text(SMALL)
    engine = (ROOT / "docs" / "examples" / "engine.py").read_text()
    started = tmp_path / "rnabench"
    started.write_text(f'#!/bin/sh\necho "$*" >> calls\nexec "{sys.executable}" -m rnabench "$@"\n')
    started.chmod(started.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))  # of other threads weights round differently
    assert '"quickstart"' in engine
    subprocess.run([sys.executable, "-c", engine.replace('"quickstart"', '"tiny.yaml"')], check=True)
    assert len((tmp_path / "calls").read_text().splitlines()) == 1 + 4  # the plan, and each cell once
    assert call("--out", "plain", "--runs", "plain-runs") == 0
    assert results(tmp_path / "results") == results(tmp_path / "plain")
    assert {cell["state"] for cell in planned(capsys).values()} == {"done"}


@pytest.mark.slow
def test_in_any_order_that_respects_inputs_the_tables_are_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                                                   ) -> None:
    text = TEXT.replace("sanity_examples: 4", "sanity: false").replace(", same: {space: bn}", "")
    (tmp_path / "tiny.yaml").write_text(text.replace("seeds: [0, 1]", "seeds: [1]").replace("fgsm@4/255", "pgd1"))
    left, order = planned(capsys), random.Random(0)
    assert call("--out", "plain", "--runs", "plain-runs") == 0
    while left:
        ready = [id for id, cell in left.items() if not left.keys() & set(cell["inputs"])]
        some = order.sample(ready, min(len(ready), 4))
        (tmp_path / "cells.json").write_text(json.dumps([left.pop(id) for id in some]))
        assert call("--only", "@cells.json") == 0
    assert results(tmp_path / "results") == results(tmp_path / "plain")
    assert {"table.csv", "matrix.csv"} <= results(tmp_path / "results").keys()


def test_a_plan_says_what_a_cell_is_needs_and_leads_to(capsys: pytest.CaptureFixture[str]) -> None:
    cells = planned(capsys)
    order = list(cells)
    for id, cell in cells.items():
        assert all(order.index(needed) < order.index(id) for needed in cell["inputs"])  # they can be done in this order
        assert (cell["state"], cell["done"]) == ("to do", 0)
        assert all(cells[needed]["output"] in cell["runs"] for needed in cell["inputs"] if needed.startswith("train/"))
    assert [id for id in order if id.startswith("train/")] == ["train/bn", "train/bn+in.s0", "train/bn+in.s1"]
    cell = cells["attack/bn+in.s1/fgsm@4/255/eot:2"]
    assert {name: cell[name] for name in ("kind", "model", "training", "seed", "attack", "protocol", "inputs")} == {
        "kind": "attack", "model": "bn+in", "training": "bn+in.s1", "seed": 1, "attack": "fgsm@4/255",
        "protocol": "eot:2", "inputs": ["train/bn+in.s1"]}
    assert cells["attack/same/fgsm/any"]["inputs"] == ["train/bn"]  # the same network under another name
    assert cells["attack/theirs/fgsm/any"]["inputs"] == []
    assert cells["study/matrix"]["inputs"] == ["train/bn", "train/bn+in.s0"]
    assert set(cells["table"]["inputs"]) == {id for id in order if id.startswith(("attack/", "sanity/"))}
    assert sum(id.startswith("sanity/bn/") for id in order) > 3


def test_an_id_runs_its_cell_and_what_that_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = "attack/bn+in.s1/fgsm/paper"
    assert list(planned(capsys, "--only", asked)) == ["train/bn+in.s1", asked]
    assert call("--only", asked) == 0
    assert {id for id, cell in planned(capsys).items() if cell["state"] == "done"} == {"train/bn+in.s1", asked}
    assert not (tmp_path / "results" / "tiny" / "table.csv").exists()


def test_ids_are_those_of_the_plan_and_each_chooses_itself(recipe: Recipe, capsys: pytest.CaptureFixture[str]) -> None:
    cells = planned(capsys)
    assert set(ids(recipe, "cpu")) - {"train/same"} == set(cells)
    for id in cells:
        chosen = choose(recipe, id, "cpu")
        if id == "table":
            assert (chosen.table, chosen.cells, chosen.figures) == (recipe.table, None, {})
        else:
            assert (chosen.cells or ()) == ((id,) if id.startswith(("attack/", "sanity/")) else ())
            assert list(chosen.figures) == (["matrix"] if id == "study/matrix" else [])
    mixed = choose(recipe, "attack/bn/fgsm/any,matrix,train/same", "cpu")
    assert (mixed.table, list(mixed.figures), "same" in mixed.models) == (("bn",), ["matrix"], True)
    assert choose(recipe, "model=bn,attack=fgsm@4/255", "cpu") == recipe.only("model=bn,attack=fgsm@4/255")


def test_a_plan_as_a_whole_or_names_can_be_a_file(recipe: Recipe, tmp_path: Path) -> None:
    file = tmp_path / "cells.json"
    for content in (["train/bn", "matrix"], [{"id": "train/bn"}, {"id": "study/matrix", "seconds": 1}],
                    {"cells": [{"id": "train/bn"}, "matrix"], "command": "reproduce"}):
        file.write_text(json.dumps(content))
        assert choose(recipe, f"@{file}", "cpu") == choose(recipe, "train/bn,study/matrix", "cpu")
    file.write_text('["model=bn", "matrix"]')
    assert choose(recipe, f"@{file}", "cpu") == recipe.only("model=bn,matrix")


@pytest.mark.parametrize(("only", "said"), [
    ("attack/bn+in.s1/fgsm/papre", "did you mean 'attack/bn+in.s1/fgsm/paper'?"),
    ("attack/bn+im.s1/fgsm/paper", "did you mean 'attack/bn+in.s1/fgsm/paper'?"),
    ("train/bm", "did you mean 'train/bn'?"), ("study/matrx", "did you mean 'study/matrix'?"),
    ("train/theirs", "the id of a cell"), ("train/bn,table2", "did you mean 'table'?"),
    ("attack/", "the id of a cell"), ("train/bn,model=bn", "not both"), ("@absent.json", "No such file"),
])
def test_a_wrong_id_is_one_line_and_nothing_runs(only: str, said: str, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--only", only) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith("error: --only: ")
    assert said in told
    assert {file.name for file in tmp_path.iterdir()} == {"tiny.yaml"}


@pytest.mark.parametrize("content", ["", "[", "[]", "{}", "3", '{"cells": 3}', "[3]", '[{"name": "train/bn"}]', "[[]]",
                                     '["train/bn", null]', "[NaN]"])
def test_a_file_that_lists_no_ids_is_refused(content: str, recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "cells.json").write_text(content)
    with pytest.raises(InvalidValue, match="--only"):
        choose(recipe, "@cells.json", "cpu")


def test_cumulative_attacks_come_after_one_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = SMALL.replace("bn+in: {space: bn+in}", "bn: {space: bn}").replace("[fgsm]", "[fgsm, pgd1], cumulative: true")
    (tmp_path / "tiny.yaml").write_text(text)
    cells = planned(capsys)
    assert cells["attack/bn/pgd1/any"]["inputs"] == ["train/bn", "attack/bn/fgsm/any"]
    assert call("--only", "attack/bn/natural/any") == 0  # which does them all
    assert {cell["state"] for id, cell in planned(capsys).items() if id.startswith("attack/")} == {"done"}
