"""Seeds in recipes: one model, several trainings, which are ordinary models below."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnabench.errors import InvalidSettings, InvalidValue
from rnabench.jobs.train import run_name
from rnabench.settings.recipe import Recipe
from rnabench.settings.recipe_loading import load_recipe

TEXT = """\
name: x
title: X
train: {width: 8, seeds: [3, 5]}
models: {BN: {space: bn}, RNA: {space: bn+in, seeds: [5, 3, 0]}, LN: {space: ln, seed: 7}, IN: {space: in, seeds: [4]}}
baseline: BN
table: [BN, RNA, LN]
evaluate: {attacks: [fgsm], protocols: [paper]}
claims: [{says: s, higher: RNA, lower: [BN, LN], attack: fgsm}]
figures: {f: {study: gradient-similarity, models: [RNA, IN]}}
profiles: {one: {}, other: {train: {seeds: [1]}, models: {RNA: {seeds: [2, 1]}}}}
"""


def recipe(folder: Path, text: str = TEXT, profile: str | None = "one") -> Recipe:
    file = folder / "x.yaml"
    file.write_text(text)
    return load_recipe(file, profile)


def test_seeds_stand_for_trainings_that_differ_in_them_alone(tmp_path: Path) -> None:
    found = recipe(tmp_path)
    assert found.trainings == {"BN": ("BN.s3", "BN.s5"), "RNA": ("RNA.s5", "RNA.s3", "RNA.s0"), "LN": ("LN",),
                               "IN": ("IN",)}
    assert found.table == ("BN.s3", "BN.s5", "RNA.s5", "RNA.s3", "RNA.s0", "LN")
    assert {name: each.seed for name, each in found.models.items()} == {
        "BN.s3": 3, "BN.s5": 5, "RNA.s5": 5, "RNA.s3": 3, "RNA.s0": 0, "LN": 7, "IN": 4}
    assert len({each.model_copy(update={"seed": 0}).digest() for each in found.models.values()}) == 4
    assert len({run_name(each) for each in found.models.values()}) == 7
    assert set(found.defined) == set(found.trainings)
    assert all(found.model_of(name) == model for model, names in found.trainings.items() for name in names)


def test_a_training_is_the_network_that_its_seed_alone_gives(tmp_path: Path) -> None:
    """So that it is shared with recipes that have the one seed only."""
    several = recipe(tmp_path).models
    for seed in (3, 5):
        plain = recipe(tmp_path, TEXT.replace("seeds: [3, 5]", f"seed: {seed}")).models["BN"]
        assert plain == several[f"BN.s{seed}"]


def test_every_training_has_the_baseline_of_its_seed_or_the_first(tmp_path: Path) -> None:
    found = recipe(tmp_path)
    assert {name: found.baseline_of(name) for name in found.table} == {
        "BN.s3": None, "BN.s5": None, "RNA.s5": "BN.s5", "RNA.s3": "BN.s3", "RNA.s0": "BN.s3", "LN": "BN.s3"}


def test_a_profile_says_other_seeds_and_a_study_takes_the_first(tmp_path: Path) -> None:
    assert recipe(tmp_path).figures["f"].models == ("RNA.s5", "IN")
    other = recipe(tmp_path, profile="other")
    assert other.trainings["RNA"] == ("RNA.s2", "RNA.s1")
    assert {name: other.models[name].seed for name in ("BN", "LN", "IN")} == {"BN": 1, "LN": 7, "IN": 4}
    only_drawn = recipe(tmp_path, TEXT.replace("table: [BN, RNA, LN]", "table: [BN]"))
    assert only_drawn.trainings["RNA"] == ("RNA.s5",)


def test_a_model_stands_for_all_its_trainings_in_only(tmp_path: Path) -> None:
    found = recipe(tmp_path)
    assert found.only("model=RNA").table == ("RNA.s5", "RNA.s3", "RNA.s0")
    assert found.only("model=RNA.s3,attack=fgsm").table == ("RNA.s3",)
    with pytest.raises(InvalidValue, match=r"RNA\.s5, RNA\.s3"):
        found.only("model=RNA.s55")


@pytest.mark.parametrize(("old", "new", "named"), [
    ("seeds: [4]", "seeds: []", r"models\.IN\.seeds"),
    ("seeds: [4]", "seeds: [4, 4]", r"models\.IN\.seeds: \[4, 4\] .*different"),
    ("seeds: [4]", "seeds: [-1]", r"models\.IN\.seeds\.0: -1"), ("seeds: [4]", "seeds: [one]", r"models\.IN\.seeds\.0"),
    ("seeds: [4]", "seeds: 4", r"models\.IN\.seeds: 4"), ("seeds: [3, 5]", "seeds: [true]", r"train\.seeds\.0: True"),
    ("seed: 7", "seed: 7, seeds: [1]", r"models\.LN\.seeds: \[1\] .*not both"),
    ("LN: {", "RNA.s3: {space: bn}, LN: {", r"models\.RNA\.s3: .*'RNA'"),
    ("seeds: [1]}", "seedz: [1]}", r"profiles\.other\.train: 'seedz' .*seeds"),
])
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    with pytest.raises(InvalidSettings, match=named):
        recipe(tmp_path, TEXT.replace(old, new))
