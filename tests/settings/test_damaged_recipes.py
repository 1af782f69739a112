"""The recipes of this repository with something changed in them: loaded, or refused in words, at once."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rnabench.errors import MOST_LINES, RnabenchError
from rnabench.settings.recipe_loading import load_recipe
from tests.damage import MANY, assert_told, damaged
from tests.helpers import RECIPES, recipe_files

CONTENTS = [yaml.safe_load(file.read_text()) for file in recipe_files()]


class WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all bases lie."""
    return Path(shutil.copytree(RECIPES, tmp_path_factory.mktemp("recipes"), dirs_exist_ok=True))


@MANY
@given(st.sampled_from(CONTENTS).flatmap(damaged), st.sampled_from(("cpu", "smoke", None)))
def test_a_damaged_recipe_is_refused_or_loaded(folder: Path, content: Any, profile: str | None) -> None:
    file = folder / "changed.yaml"
    try:
        file.write_text(yaml.dump(content, Dumper=WithoutAliases, sort_keys=False))
    except RecursionError:  # the writer's
        file.write_text("[" * 400)
    started = time.process_time()
    try:
        load_recipe(file, profile)
    except RnabenchError as error:
        assert_told(error)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("text", [
    "train: {" + ", ".join(f"epohcs{k}: 1" for k in range(4_000)) + "}\nmodels: {" + ", ".join(
        f"m{k}: {{space: bn}}" for k in range(1_000)) + "}",
    "models: {" + ", ".join(f"m{k}: {{epohcs: 1, spcae: {k}}}" for k in range(3_000)) + "}",
    "models: {one: {space: bn}}\nprofiles: {a: {train: {" + ", ".join(f"x{k}: 1" for k in range(5_000)) + "}}}",
    "models: {one: {space: bn}}\ntable: [" + ", ".join(f"m{k}" for k in range(5_000)) + "]",
    f"models: {{one: {{space: {'bn+' * 3_000}in}}}}", f"models: {{one: {{arch: {'r' * 9_000}}}}}",
], ids=range(6))
def test_thousands_of_mistakes_are_told_in_a_few_lines_at_once(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(f"name: x\ntitle: X\n{text}\n")
    started = time.process_time()
    with pytest.raises(RnabenchError) as caught:
        load_recipe(tmp_path / "x.yaml", "a" if "profiles" in text else None)
    assert time.process_time() - started < 8  # a second on an idle machine
    assert_told(caught.value)
    assert len(str(caught.value).splitlines()) <= MOST_LINES + 1
