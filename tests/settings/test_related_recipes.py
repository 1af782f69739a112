"""Recipes of the RobustNorm and SORS papers: every published number stands beside a network that is measured."""

from __future__ import annotations

import pytest

from rnabench.reference import published, tables
from rnabench.report.published import is_row, published_numbers
from rnabench.settings.recipe import Recipe
from rnabench.settings.recipe_loading import load_recipe
from tests.helpers import RECIPES, recipe_files

RELATED = [file for file in recipe_files() if file.stem.startswith(("robustnorm-", "sors-"))]
NOT_OURS = {("robustnorm-table7", "resnet18"),  # for images of 224 pixels
            ("sors-table10", "resnet18")}  # a single network with a teacher
IN_A_FIGURE = {"robustnorm-table5"}


def by_table() -> dict[str, list[Recipe]]:
    found: dict[str, list[Recipe]] = {}
    for recipe in (load_recipe(file, "paper") for file in RELATED):
        for table in recipe.published.split("+") if recipe.published else ():
            found.setdefault(table, []).append(recipe)
    return found


def test_every_published_row_of_a_network_of_ours_is_measured() -> None:
    recipes = by_table()
    for table in (name for name in tables() if "-" in name and name not in IN_A_FIGURE):
        models = [model for recipe in recipes[table] for model in recipe.defined.values()]
        for row in published(table):
            if row["space"]:
                is_taught = row["teacher"] == "yes"
                known = (table, row["arch"]) not in NOT_OURS or (table == "sors-table10" and not is_taught)
                assert any(is_row(row, model) for model in models) == known, row


def test_every_model_of_a_table_is_in_the_paper_or_is_said_to_be_ours() -> None:
    """RobustNorm with a running mean on ResNet-20, draws between statistics; without adversarial images or with, the
    base of a gain."""
    ours = {"robustnorm-table3": {"BN-adversarial"}, "robustnorm-table4": {"BN", "BN-adversarial"},
            "robustnorm-table6": {"RN-mean"}, "robustnorm-random": {"RN-mean", "BN-either", "BN+BN-batch"}}
    for recipe in (recipe for file in RELATED if (recipe := load_recipe(file, "paper")).published and recipe.table):
        unknown = {name for name in recipe.table
                   if not published_numbers(str(recipe.published), recipe.defined[recipe.model_of(name)])}
        assert unknown == ours.get(recipe.name, set()), recipe.name


@pytest.mark.parametrize("file", RELATED, ids=lambda file: file.stem)
def test_profiles_change_the_scale_and_not_what_is_compared(file) -> None:  # type: ignore[no-untyped-def]
    full = load_recipe(file, "paper")
    for profile in ("short", "cpu", "smoke"):
        smaller = load_recipe(file, profile)
        assert smaller.published == full.published
        assert set(smaller.table) <= set(full.table)
        assert smaller.defined == {name: full.defined[name] for name in smaller.trainings}


def test_a_randomised_network_is_attacked_on_one_path_on_fresh_ones_and_on_many() -> None:
    for file in RELATED:
        recipe = load_recipe(file, "paper")
        if recipe.name.startswith("sors-") and recipe.table:
            run = {(entry.attack.name.partition("@")[0], entry.protocol) for entry in recipe.evaluate.entries()}
            assert {("pgd7", "paper"), ("pgd7", "resample"), ("pgd7", "eot:20")} <= run


def test_statistics_of_batches_have_batches_of_one_size() -> None:
    """So many that no attack is run on part of a batch."""
    for file in RELATED:
        recipe = load_recipe(file, "cpu")
        if recipe.name.startswith("robustnorm-") and recipe.table:
            keys = recipe.evaluate
            drawing = recipe.name in ("robustnorm-random", "robustnorm-adaptive")
            assert keys.batch_size == (32 if drawing else 128)  # a draw serves a batch there
            assert keys.n_examples is not None
            assert all(count % keys.batch_size == 0 for count in (keys.n_examples, *keys.n_examples_of.values()))


def test_a_base_says_nothing_that_its_recipes_do_not_use() -> None:
    used = {file.stem: load_recipe(file, "paper") for file in RELATED}
    for base, prefix in (("robustnorm", "robustnorm-"), ("sors", "sors-")):
        text = (RECIPES / f"{base}.yaml").read_text()
        models = {name for recipe in used.values() if recipe.name.startswith(prefix) for name in recipe.trainings}
        for line in text.partition("\nmodels:\n")[2].partition("\n\n")[0].splitlines():
            assert line.strip().partition(":")[0] in models
