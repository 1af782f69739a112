"""What a recipe names becomes files in its own folder of results, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnabench.errors import InvalidSettings, InvalidValue, RnabenchError
from rnabench.jobs.train import run_name
from rnabench.settings.file_names import LONGEST_STEM, checked_path, shortened
from rnabench.settings.recipe_loading import load_recipe
from rnabench.settings.training import TrainingSettings
from tests.helpers import recipe_files

RECIPE = """
name: {name}
title: T
models: {{{model}: {{space: bn}}}}
profiles: {{{profile}: {{}}}}
figures: {{{figure}: {{study: theory}}}}
"""
GOOD = {"name": "x", "model": "one", "profile": "tiny", "figure": "f"}
OUTSIDE = ["../x", "..", ".", "/x", "a/b", "-x", "x y", '"a\\nb"', '""', "x" * 300, "é" * 64 + "é", ".x"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("part", GOOD)
def test_no_name_leads_out_of_the_folder(part: str, name: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(RECIPE.format(**GOOD | {part: name}))
    with pytest.raises(RnabenchError) as caught:
        load_recipe(file, name.strip('"').replace("\\n", "\n") if part == "profile" else "tiny")
    assert len(str(caught.value)) < 1_500


def test_good_names_are_those_of_the_recipes(tmp_path: Path) -> None:
    for name in ("gn[1-64]", "RNA.s0", "BGN+GN", "é" * 64):
        file = tmp_path / "x.yaml"
        file.write_text(RECIPE.format(**GOOD | {"model": f'"{name}"', "profile": f'"{name}"'}).replace("theory", "x"))
        with pytest.raises(InvalidSettings, match=r"figures\.f\.study"):  # and nothing else
            load_recipe(file, name)
    assert all(len(file.stem) < LONGEST_STEM for file in recipe_files())


@pytest.mark.parametrize("base", ["../base.yaml", "{folder}/base.yaml", "inner/base.yaml", "../x/base.yaml", "..",
                                  "", ".", "x" * 300, "absent.yaml", "inner"])
def test_a_base_lies_beside_the_recipe(base: str, tmp_path: Path) -> None:
    (tmp_path / "x" / "inner").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "x", tmp_path / "x" / "inner"):
        (folder / "base.yaml").write_text("title: T\nmodels: {one: {space: bn}}\n")
    file = tmp_path / "x" / "mine.yaml"
    file.write_text(f"base: '{base.format(folder=tmp_path)}'\nname: mine\nmodels: {{two: {{space: in}}}}\n")
    with pytest.raises(InvalidSettings, match=r"base: .*expected the name of a YAML file beside the recipe"):
        load_recipe(file)
    file.write_text("base: base.yaml\nname: mine\nmodels: {two: {space: in}}\n")
    assert load_recipe(file).title == "T"
    (tmp_path / "x" / "linked.yaml").symlink_to(tmp_path / "base.yaml")  # a link is a decision of its owner's
    file.write_text("base: linked.yaml\nname: mine\nmodels: {two: {space: in}}\n")
    assert load_recipe(file).title == "T"


@given(st.text(max_size=300), st.text("0123456789abcdef", min_size=12, max_size=12))
def test_a_shortened_name_fits_and_keeps_what_makes_it_unique(name: str, unique: str) -> None:
    made = shortened(f"{name}-{unique}", unique)
    assert made.endswith(f"-{unique}")
    assert len(made.encode()) <= LONGEST_STEM
    assert made == f"{name}-{unique}" or len(f"{name}-{unique}".encode()) > LONGEST_STEM


def test_a_run_of_many_normalisers_has_a_folder_of_its_own() -> None:
    long = ["+".join(dict.fromkeys(f"{kind}{number}" for kind in ("gn", "bgn") for number in range(1, last)))
            for last in (24, 25)]
    names = [run_name(TrainingSettings(space=space)) for space in (*long, "bn+in")]
    assert len(set(names)) == 3
    assert max(len(name.encode()) for name in names) <= LONGEST_STEM
    assert names[-1].startswith("digits-resnet18-bn+in-")


def test_paths_that_no_file_can_have(tmp_path: Path) -> None:
    assert checked_path("--out", tmp_path) == tmp_path
    os.mkdir(tmp_path / ("x" * 255))
    checked_path("--out", tmp_path / ("x" * 255))
    for path in (Path("x" * 256), Path("é" * 128), Path("a\0b"), Path("/".join(["x" * 200] * 30))):
        with pytest.raises(InvalidValue, match="--out") as caught:
            checked_path("--out", path)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400
