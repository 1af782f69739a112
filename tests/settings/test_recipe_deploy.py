"""How a recipe's models are used at inference: their key `deploy`."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnabench.errors import InvalidSettings
from rnabench.jobs.train import run_name
from rnabench.settings.deployment import AS_TRAINED, Deployment
from rnabench.settings.recipe import Recipe
from rnabench.settings.recipe_loading import load_recipe

TEXT = """\
name: x
title: X
train: {width: 8}
models:
  P: {space: bn, seeds: [0, 1]}
  B: {space: bn, seeds: [0, 1], deploy: {statistics: batch}}
  PB: {space: bn, deploy: {statistics: running+batch, average: 2}}
evaluate: {attacks: [fgsm], protocols: [paper]}
figures: {f: {study: path-difference, models: [PB]}}
profiles: {one: {}, other: {models: {B: {deploy: {statistics: running-mean}}, PB: {deploy: {average: 3}}}}}
"""


def recipe(folder: Path, text: str = TEXT, profile: str | None = "one") -> Recipe:
    file = folder / "x.yaml"
    file.write_text(text)
    return load_recipe(file, profile)


def test_models_that_differ_in_it_alone_are_one_training(tmp_path: Path) -> None:
    found = recipe(tmp_path)
    assert found.deployment_of("P.s1") == AS_TRAINED
    assert found.deployment_of("B.s1") == Deployment(statistics="batch")
    assert found.deployment_of("PB") == Deployment(statistics="running+batch", average=2)
    assert found.models["P.s1"] == found.models["B.s1"]
    assert len({run_name(training) for training in found.models.values()}) == 2
    assert found.only("model=B").deployments == found.deployments


def test_a_branch_of_mixtures_is_one_too(tmp_path: Path) -> None:
    found = recipe(tmp_path, TEXT.replace("{statistics: batch}", "{branch: adv}"))
    assert found.deployment_of("B.s0") == Deployment(branch="adv")
    assert found.models["P.s0"] == found.models["B.s0"]


def test_a_profile_changes_it_key_by_key(tmp_path: Path) -> None:
    found = recipe(tmp_path, profile="other")
    assert found.deployment_of("B.s0") == Deployment(statistics="running-mean")
    assert found.deployment_of("PB") == Deployment(statistics="running+batch", average=3)
    assert found.defined["B"].deploy == Deployment(statistics="batch")  # what published numbers go by


def test_a_study_of_paths_takes_a_network_that_a_choice_of_statistics_makes_random(tmp_path: Path) -> None:
    assert recipe(tmp_path).figures["f"].models == ("PB",)
    with pytest.raises(InvalidSettings, match=r"figures.f.models: 'B' is not valid; expected randomised models"):
        recipe(tmp_path, TEXT.replace("models: [PB]", "models: [B]"))


@pytest.mark.parametrize(("old", "new", "words"), [
    ("statistics: batch", "statistics: bacth", "models.B.deploy.statistics: 'bacth' is not valid; .*; did you mean "
     "'batch'"),
    ("statistics: batch", "statistic: batch", "models.B.deploy.statistic: unknown key; expected one of statistics, "
     "average, branch; did you mean 'statistics'"),
    ("average: 2", "average: 0", "models.PB.deploy.average: 0 is not valid; expected at least 1"),
    ("{statistics: batch}", "batch", "models.B.deploy: 'batch' is not valid; expected keys and values"),
    ("train: {width: 8}", "train: {width: 8, deploy: {average: 2}}", "train.deploy: unknown key"),
    ("B: {deploy: {statistics: running-mean}}", "B: {deply: {}}", "profiles.other.models.B: 'deply' is not valid; .*; "
     "did you mean 'deploy'"),
])
def test_errors(old: str, new: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=words):
        recipe(tmp_path, TEXT.replace(old, new))
