"""Recipes: every shipped one is valid, and a bad one tells all its errors at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnabench.errors import InvalidRecipe, RnabenchError
from rnabench.pixels import pixel_units
from rnabench.recipe_file import load_recipe

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_shipped_recipes_are_valid_and_headed_by_their_command(file: Path) -> None:
    recipe = load_recipe(file)
    assert recipe.name == file.stem
    assert recipe.models
    assert file.read_text().splitlines()[0] == f"# rnabench reproduce recipes/{file.name}"


def test_there_are_recipes() -> None:
    assert "quickstart" in [file.stem for file in RECIPES]


BAD = """\
name: bad
title: all kinds of errors
trian: {}
train: {arch: resnet19, epocs: 3, eps: 8, steps: many}
models:
  one: {space: bn+bn}
  two: {space: gn7, lr: -1}
  three: {dataset: folder}
evaluate: {suite: quik, draws: 0, protocols: [paper, eot:x]}
"""


def test_all_errors_at_once_each_with_file_key_and_nearest_name(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    with pytest.raises(InvalidRecipe) as caught:
        load_recipe(file)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{file}: ") and "expected" in line for line in lines)
    for key, hint in {"trian": "'train'", "train.arch": "'resnet18'", "train.epocs": "'epochs'", "train.eps": "'8/255'",
                      "train.steps": "'many'", "models.one.space": "'bn' stands twice", "models.two.lr": "-1",
                      "evaluate.suite": "'quick'", "evaluate.draws": "0", "evaluate.protocols": "eot"}.items():
        assert sum(line.startswith(f"{file}: {key}: ") and hint in line for line in lines) == 1, key
    assert len(lines) == len(set(lines))


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "name: x\n", "1: 2", "models: 3", "name: x\ntitle: y\nmodels: {}"])
def test_what_is_no_recipe_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(RnabenchError, match=r"x\.yaml"):
        load_recipe(file)
    with pytest.raises(RnabenchError, match="cannot read"):
        load_recipe(tmp_path / "none.yaml")


def test_pixel_units() -> None:
    assert pixel_units("8/255") == 8 / 255
    assert pixel_units("0.1") == pixel_units(0.1) == 0.1
    for bad in ("8", "-1/255", "x", "1/0", None, "1/2/3", "nan"):
        with pytest.raises(ValueError, match="8/255"):
            pixel_units(bad)
