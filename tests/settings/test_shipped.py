"""The recipes that come with the package: found by name, in a checkout and in a wheel."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from rnabench.errors import InvalidValue
from rnabench.settings import shipped
from rnabench.settings.recipe_source import content
from tests.helpers import RECIPES, recipe_files


def test_all_of_the_folder_are_shipped_and_no_base() -> None:
    assert shipped.folder() == RECIPES
    assert {shipped.find(Path(name)) for name in shipped.names()} == set(recipe_files())
    assert not {"paper", "thesis", "sors", "robustnorm"} & set(shipped.names())


def test_the_wheel_has_the_folder_where_it_is_looked_for() -> None:
    said = tomllib.loads((RECIPES.parent / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    inside = shipped.PACKAGE.name + "/recipes"
    assert said["wheel"]["force-include"] == {"recipes": inside}
    assert "/recipes" in said["sdist"]["include"]  # of which wheels are made elsewhere


def test_inside_the_package_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "own.yaml").write_text("# own\nname: own\n")
    (tmp_path / "recipes" / "base.yaml").write_text("# base\ntrain: {}\n")
    monkeypatch.setattr(shipped, "PACKAGE", tmp_path)
    assert shipped.names() == ["own"]


def test_a_file_is_taken_as_it_is_and_a_name_only_where_it_means_one(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("name: mine\n")
    assert shipped.find(Path("mine.yaml")) == Path("mine.yaml")
    assert content(shipped.find(Path("table1")))["name"] == "table1"
    with pytest.raises(InvalidValue, match="did you mean 'table1'"):
        shipped.find(Path("tabel1"))
    for impossible in ("a" * 300, "a\0b"):
        with pytest.raises(InvalidValue, match="is not valid; expected a YAML file"):
            shipped.find(Path(impossible))
    Path("table1.yaml").write_text("name: mine\n")
    assert shipped.find(Path("./table1.yaml")) == Path("table1.yaml")
    with pytest.raises(InvalidValue, match=r"'table1' is not valid; expected \./table1\.yaml for the file here"):
        shipped.find(Path("table1"))
