"""The recipe of randomised defences: all of them, at equal settings, on networks that other recipes train too."""

from __future__ import annotations

from rnabench.jobs.train import run_name
from rnabench.settings.parts import DEFENCE_KINDS, NONE, defences
from rnabench.settings.recipe import Recipe
from rnabench.settings.recipe_loading import load_recipe
from tests.helpers import RECIPES


def loaded(profile: str, name: str = "randomised-defences") -> Recipe:
    return load_recipe(RECIPES / f"{name}.yaml", profile)


def test_every_defence_is_in_the_table() -> None:
    for profile in ("paper", "cpu", "smoke"):
        recipe = loaded(profile)
        there = [part.kind for name in recipe.table for part in defences(recipe.models[name].defence)]
        assert sorted(there) == sorted(DEFENCE_KINDS)
        assert {"BN", "RNA"} < set(recipe.table)
        assert not recipe.claims


def test_networks_differ_in_what_they_draw_alone() -> None:
    recipe = loaded("cpu")
    plain = recipe.models["BN"].model_dump()
    for name in recipe.table:
        differing = {key for key, value in recipe.models[name].model_dump().items() if value != plain[key]}
        assert len(differing) == (name != "BN")
        assert differing <= {"space", "activation", "denoise", "defence"}
        assert name == "BN" or recipe.models[name].options > 1


def test_other_recipes_networks_are_trained_once_for_all() -> None:
    small = {training.space: run_name(training)
             for training in load_recipe(RECIPES / "cifar10-jpeg-small.yaml").models.values()}
    recipe, random = loaded("cpu"), loaded("cpu", "randomness")
    assert [run_name(recipe.models[name]) for name in ("BN", "RNA")] == [small["bn"], small["bn+in"]]
    for name, training in recipe.models.items():
        if training.defence == NONE and name in random.models:
            assert run_name(training) == run_name(random.models[name])
    assert {"ReLU+SiLU", "none+Denoiser", "BN+BN-aux"} <= set(recipe.table) & set(random.models)


def test_networks_with_noise_at_their_input_are_certified() -> None:
    (figure,) = loaded("cpu").figures.values()
    assert figure.study.name == "certify"
    noisy = {"input-noise", "smoothing", "rse"}
    assert {defences(loaded("cpu").models[name].defence)[0].kind for name in figure.models} == noisy
