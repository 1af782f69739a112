"""What is checked before the first training, of the recipes that are shipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnabench.jobs.recipe_check import check
from rnabench.settings.recipe_loading import load_recipe
from rnabench.settings.recipe_source import profiles
from tests.helpers import recipe_files

SHORT = [file for file in recipe_files() if "short" in profiles(file)]


@pytest.mark.parametrize("file", SHORT, ids=lambda file: file.stem)
def test_every_network_of_a_shipped_recipe_can_be_compiled_where_its_profile_compiles(file: Path) -> None:
    recipe = load_recipe(file, "short")
    check(recipe, "cpu", without=recipe.models)
