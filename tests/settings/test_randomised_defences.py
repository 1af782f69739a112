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
    """And at a scale that leaves them out, a gradient mask beside RNA."""
    for profile in ("paper", "short", "cpu", "smoke"):
        recipe = loaded(profile)
        there = [part.kind for name in recipe.table for part in defences(recipe.models[name].defence)]
        if profile == "cpu":
            assert there == ["bit-depth"]
        else:
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
    recipe = loaded("cpu")
    assert [run_name(recipe.models[name]) for name in ("BN", "RNA")] == [small["bn"], small["bn+in"]]
    recipe, random = loaded("paper"), loaded("paper", "randomness")
    shared = {name for name, training in recipe.models.items() if training.defence == NONE} & set(random.models)
    assert shared >= {"BN", "RNA", "ReLU+SiLU", "none+Denoiser", "BN+BN-aux"}
    for name in shared:
        assert run_name(recipe.models[name]) == run_name(random.models[name])


def test_networks_with_noise_at_their_input_are_certified() -> None:
    for profile in ("paper", "short", "smoke"):
        recipe = loaded(profile)
        (figure,) = recipe.figures.values()
        assert figure.study.name == "certify"
        noisy = {name for name in recipe.table for part in defences(recipe.models[name].defence)
                 if part.kind in ("input-noise", "smoothing", "rse")}
        assert set(figure.models) == noisy
