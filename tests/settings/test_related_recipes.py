"""Recipes of the RobustNorm and SORS papers and of the thesis, and of all that can be drawn: every published number of
a network of ours stands beside one that is measured, and recipes share their networks."""

from __future__ import annotations

import pytest

from rnabench.jobs.train import run_name
from rnabench.reference import published, tables
from rnabench.report.published import is_row, published_numbers
from rnabench.settings.recipe import Recipe
from rnabench.settings.recipe_loading import load_recipe
from tests.helpers import RECIPES, recipe_files

RELATED = [file for file in recipe_files() if file.stem.startswith(("robustnorm-", "sors-", "thesis-"))]
NOT_OURS = {("robustnorm-table7", "resnet18"),  # for images of 224 pixels
            ("sors-table10", "resnet18"),  # a single network with a teacher
            ("thesis-table5-3", "resnet50")}  # which Figure 5.3 has; beside it others for CIFAR-10
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
        models = [model for recipe in recipes.get(table, []) for model in recipe.defined.values()]
        for row in published(table):
            if row["space"]:
                is_taught = row["teacher"] == "yes"
                known = (table, row["arch"]) not in NOT_OURS or (table == "sors-table10" and not is_taught)
                assert any(is_row(row, model) for model in models) == known, row


def test_every_model_of_a_table_is_in_the_paper_or_is_said_to_be_ours() -> None:
    """RobustNorm with a running mean on ResNet-20, draws between statistics; without adversarial images or with, the
    base of a gain. Of activations the thesis's text does not state all numbers. Its networks are for ImageNet."""
    ours = {"robustnorm-table3": {"BN-adversarial"}, "robustnorm-table4": {"BN", "BN-adversarial"},
            "robustnorm-table6": {"RN-mean"}, "robustnorm-random": {"RN-mean", "BN-either", "BN+BN-batch"},
            "thesis-figure5-3": {"GELU", "ELU1.5", "CELU", "CELU1.5", "CELU2"}, "thesis-table7": {"AdvProp-aux"}}
    for recipe in (recipe for file in RELATED if (recipe := load_recipe(file, "paper")).published and recipe.table):
        unknown = {name for name in recipe.table
                   if not published_numbers(str(recipe.published), recipe.defined[recipe.model_of(name)])}
        is_elsewhere = recipe.name.startswith("thesis-") and {
            model.dataset for model in recipe.defined.values()} == {"cifar10"}
        assert unknown == (set(recipe.table) if is_elsewhere else ours.get(recipe.name, set())), recipe.name


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
            drawing = {"robustnorm-random": 32, "robustnorm-adaptive": 16}  # a draw serves a batch there
            assert keys.batch_size == drawing.get(recipe.name, 128)
            assert keys.n_examples is not None
            assert all(count % keys.batch_size == 0 for count in (keys.n_examples, *keys.n_examples_of.values()))


def test_a_base_says_nothing_that_its_recipes_do_not_use() -> None:
    used = {file.stem: load_recipe(file, "paper") for file in RELATED}
    for base, prefix in (("robustnorm", "robustnorm-"), ("sors", "sors-"), ("thesis", "thesis-")):
        text = (RECIPES / f"{base}.yaml").read_text()
        models = {name for recipe in used.values() if recipe.name.startswith(prefix) for name in recipe.trainings}
        for line in text.partition("\nmodels:\n")[2].partition("\n\n")[0].splitlines():
            assert line.strip().partition(":")[0] in models


def test_networks_of_cpu_size_are_shared_with_the_small_recipe_on_real_images() -> None:
    small = {name: run_name(training)
             for name, training in load_recipe(RECIPES / "cifar10-jpeg-small.yaml").models.items()}
    drawn = {name: run_name(training)
             for name, training in load_recipe(RECIPES / "randomness.yaml", "cpu").models.items()}
    assert (drawn["BN"], drawn["RNA"]) == (small["bn"], small["bn+in"])
    denoised = load_recipe(RECIPES / "thesis-figure4-6.yaml", "cpu").models
    assert {run_name(denoised["BN"]), run_name(denoised["dot"])} == {drawn["BN"], drawn["Denoiser"]}
    gradients, activations = (load_recipe(RECIPES / f"thesis-{name}.yaml", "cpu").models
                              for name in ("table5-1", "figure5-3"))
    assert run_name(gradients["ReLU"]) == run_name(activations["ReLU"]) != drawn["BN"]  # one step of training, not two


def test_what_is_drawn_stands_beside_its_options_alone_at_equal_settings() -> None:
    recipe = load_recipe(RECIPES / "randomness.yaml", "cpu")
    parts = ("space", "activation", "denoise")
    claimed = {claim.higher: set(claim.lower) for claim in recipe.claims}
    drawn = {name for name, training in recipe.models.items()
             if training.options > 1 or "+" in recipe.deployment_of(name).branch}
    assert drawn <= set(claimed)
    assert {recipe.models[name].objective for name in set(claimed) - drawn} == {"mbn"}  # AdvProp's own two claims
    built = {tuple(getattr(training, part) for part in parts): name for name, training in recipe.models.items()}
    for name in ("ReLU+SiLU", "none+Denoiser"):
        training = recipe.models[name]
        for part in parts[1:]:
            for option in getattr(training, part).split("+"):
                alone = tuple(option if each == part else getattr(training, each) for each in parts)
                assert built[alone] in {name, *claimed[name]}
    differing = {key for training in recipe.models.values() for key, value in training.model_dump().items()
                 if value != recipe.models["BN"].model_dump()[key]}
    assert differing <= {*parts, "objective"}
