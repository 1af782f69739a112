"""Recipes with networks that somebody else brings: beside trained ones in tables, figures, plans and claims."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from rnabench.defence.importing import import_model
from rnabench.errors import InvalidSettings, RnabenchError
from rnabench.jobs.evaluate import identity
from rnabench.jobs.foreign import load_foreign
from rnabench.jobs.plan import forecast
from rnabench.jobs.recipe_check import check
from rnabench.jobs.reproduce import Place
from rnabench.report.record_file import read_record
from rnabench.settings.datasets import DataSettings
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.imported import Imported
from rnabench.settings.recipe_loading import load_recipe
from tests.cli.test_cli import run
from tests.defence.networks import linear

HERE = "tests.defence.networks"
TEXT = """\
name: mixed
title: Mixed
train: {width: 2, steps: 1, epochs: 1, n_train: 64, n_holdout: 16, batch_size: 32}
models:
  bn: {space: bn}
  mine: {import: "tests.defence.networks:linear", args: {width: 5, scale: 1.5}, weights: mine.safetensors}
  noisy: {import: "tests.cli.models:noisy"}
baseline: bn
claims: [{says: Noise helps, higher: noisy, lower: [mine], attack: fgsm}]
evaluate: {attacks: [fgsm], protocols: [paper, "eot:2"], n_examples: 8, batch_size: 8, draws: 2, sanity: false}
figures: {matrix: {study: transfer-matrix, models: [bn, mine, noisy], attack: fgsm, n_examples: 8, draws: 2}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a recipe, the weights that it names, and what comes of it."""
    made = tmp_path_factory.mktemp("mixed")
    (made / "mixed.yaml").write_text(TEXT)
    save_file({name: tensor * 2 for name, tensor in linear(5, 1.5).state_dict().items()}, made / "mine.safetensors")
    assert run("reproduce", str(made / "mixed.yaml"), "--runs", str(made / "runs"), "--out", str(made / "results"),
               "--device", "cpu") == 0
    return made


def test_the_table_and_the_figure_have_all_of_them(folder: Path) -> None:
    results = folder / "results" / "mixed"
    records = {name: read_record(results / f"{name}.json") for name in ("bn", "mine", "noisy")}
    assert {name: record.label for name, record in records.items()} == {name: name for name in records}
    assert [record.model.randomised for record in records.values()] == [False, False, True]
    assert records["mine"].model.imported == {"import": f"{HERE}:linear", "args": {"width": 5, "scale": 1.5},
                                              "weights": "mine.safetensors"}
    baselines = [records[name].baseline for name in ("noisy", "mine")]
    assert [each.label for each in baselines if each] == ["bn", "bn"]
    assert {record.data.fingerprint for record in records.values()} == {records["bn"].data.fingerprint}
    table = (results / "table.md").read_text()
    assert "Noise helps" in table
    assert all(f"| {name} " in table for name in records)
    matrix = json.loads((results / "matrix.json").read_text())
    assert [subject["label"] for subject in matrix["results"]["subjects"]] == ["bn", "mine", "noisy"]
    assert run("check", str(results), "--against", str(results)) == 0
    assert run("report", str(results), "--out", str(folder / "page.html")) == 0
    assert "noisy" in (folder / "page.html").read_text()


def test_what_is_attacked_is_the_network_with_its_weights(folder: Path) -> None:
    recipe = load_recipe(folder / "mixed.yaml")
    network = import_model(recipe.imported["mine"])
    assert torch.equal(network[1].weight, 2 * linear(5, 1.5)[1].weight)  # type: ignore[index]
    assert recipe.imported["mine"].weights == folder / "mine.safetensors"
    assert set(recipe.models) == {"bn"}
    assert recipe.only("model=mine").imported.keys() == {"mine"}
    assert recipe.only("model=mine").models == {}
    assert recipe.only("matrix").imported.keys() == {"mine", "noisy"}


def test_a_plan_says_what_is_done_and_what_is_left(folder: Path, tmp_path: Path) -> None:
    recipe = load_recipe(folder / "mixed.yaml")
    done = forecast(recipe, Place(folder / "runs", folder / "results" / "mixed", "cpu"))
    assert {piece.state for piece in done} == {"done"}
    assert [(piece.kind, piece.name) for piece in done] == [
        ("train", "bn"), ("attack", "bn"), ("attack", "mine"), ("attack", "noisy"), ("study", "matrix")]
    left = {(piece.kind, piece.name): piece for piece in forecast(recipe, Place(tmp_path, tmp_path / "x", "cpu"))}
    assert left["attack", "noisy"].state == "0 of 3 cells"
    assert left["attack", "mine"].state == "0 of 2 cells"
    assert min(piece.seconds for piece in left.values()) > 0


def test_the_command_line_and_a_recipe_make_the_same_record(folder: Path, tmp_path: Path) -> None:
    """Under another label: it says what the network is called, and not what it is."""
    assert run("attack", "--model", f"{HERE}:linear", "--model-args", "width=5", "--model-args", "scale=1.5",
               "--model-weights", str(folder / "mine.safetensors"), "--attacks", "fgsm", "--protocols", "paper,eot:2",
               "--n-examples", "8", "--batch-size", "8", "--draws", "2", "--no-sanity", "--device", "cpu", "--out",
               str(tmp_path)) == 0
    typed, named = read_record(tmp_path / "record.json"), read_record(folder / "results" / "mixed" / "mine.json")
    assert (typed.label, named.label) == (f"{HERE}:linear", "mine")
    assert typed.digest == named.digest
    assert [each.outcomes for each in typed.results] == [each.outcomes for each in named.results]


def test_other_arguments_are_another_network_even_where_the_logits_are_the_same() -> None:
    keys = EvaluationSettings(attacks=("fgsm",), n_examples=2, sanity=False)
    found = [identity(load_foreign(Imported.of(f"{HERE}:called", arguments), DataSettings(), keys, "cpu"), keys)
             for arguments in ([], ["name=a"], ["name=b"], ["name=b"])]
    assert found[2] == found[3]
    assert len(set(found)) == 3


@pytest.mark.parametrize(("old", "new", "words"), [
    ("mine.safetensors", "mime.safetensors", "models.mine.weights: 'mime.safetensors' is not valid; expected a file, "
     "which is looked for beside the recipe; did you mean 'mine.safetensors'?"),
    ("args:", "arguments:", "models.mine.arguments: unknown key; expected one of import, args, weights; did you mean"),
    ("args: {width: 5, scale: 1.5}", "deploy: {average: 2}", "models.mine.deploy: unknown key"),
    ("args: {width: 5, scale: 1.5}", "args: 5", "models.mine.args: 5 is not valid; expected keys and values"),
    ("train: {width: 2,", "train: {dataset: digitz, width: 2,", "train.dataset: 'digitz' is not valid"),
    ("[bn, mine, noisy]", "[bn, mien]", "did you mean 'mine'?"),
])
def test_what_is_wrong_with_a_recipe_is_said_before_anything_is_imported(old: str, new: str, words: str, folder: Path,
                                                                        tmp_path: Path) -> None:
    shutil.copy(folder / "mine.safetensors", tmp_path)
    (tmp_path / "wrong.yaml").write_text(TEXT.replace(old, new))
    with pytest.raises(InvalidSettings) as caught:
        load_recipe(tmp_path / "wrong.yaml")
    assert words in str(caught.value)


@pytest.mark.parametrize(("old", "new", "words"), [
    ("scale: 1.5", "scle: 1.5", "models.mine: args: 'scle' is not valid; expected one of width, scale"),
    ("width: 5, ", "", "models.mine: args: missing; expected width, which"),
    ("width: 5", "width: 6", "models.mine: weights: "),
    ("models:noisy", "models:nosy", "models.noisy: import: 'tests.cli.models:nosy' is not valid; expected a callable "
     "of tests.cli.models that returns a torch module; did you mean 'tests.cli.models:noisy'?"),
    ("tests.cli.models:noisy", f"{HERE}:unseeded", "models.noisy: --protocols: 'paper' is not valid; expected resample "
     "or eot:K: no seed fixes what noisy draws"),
    ("sanity: false", "granularity: sample", "models.noisy: --granularity: 'sample' is not valid"),
    ("study: transfer-matrix, models: [bn, mine, noisy], attack: fgsm, n_examples: 8, draws: 2",
     "study: path-difference, models: [noisy]", "figures.matrix: RUN: 'noisy' is not valid; expected a network with "
     "choice layers"),
])
def test_what_is_wrong_with_a_network_is_said_before_the_first_training(old: str, new: str, words: str, folder: Path,
                                                                       tmp_path: Path) -> None:
    shutil.copy(folder / "mine.safetensors", tmp_path)
    (tmp_path / "wrong.yaml").write_text(TEXT.replace(old, new))
    with pytest.raises(RnabenchError) as caught:
        check(load_recipe(tmp_path / "wrong.yaml"), "cpu")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def plan(folder: Path, recipe: str) -> dict[str, Any]:
    (folder / "recipe.yaml").write_text(recipe)
    return {name: own.model_dump() for name, own in load_recipe(folder / "recipe.yaml", "small").imported.items()}


def test_a_profile_changes_their_arguments_and_leaves_their_norms_alone(tmp_path: Path) -> None:
    recipe = """\
name: mixed
title: Mixed
train: {space: gn32}
models: {mine: {import: "a:b", args: {width: 64, depth: 3}}}
profiles: {small: {models: {mine: {args: {width: 8}}}, norms: {gn32: gn8}}}
"""
    assert plan(tmp_path, recipe)["mine"]["args"] == {"width": 8, "depth": 3}
