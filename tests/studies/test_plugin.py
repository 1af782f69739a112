"""A study is one file: registered from anywhere, it is run, recorded, drawn and asked for in recipes like any other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rnabench.data.batches import ResidentSource
from rnabench.data.sources import EvaluationData
from rnabench.errors import InvalidSettings, RnabenchError
from rnabench.jobs.study import run_study
from rnabench.jobs.target import Target
from rnabench.report.study import write_study
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import Stopped, StopRequest
from rnabench.seeding import stream
from rnabench.settings.recipe_loading import load_recipe
from rnabench.settings.studies import STUDIES, Study, study
from tests.helpers import AfterSteps, lively_model, random_images, visible

EXAMPLE = Path(__file__).parents[1] / "other_package" / "rnabench_example" / "study.py"
RECIPE = ("name: x\ntitle: X\ntable: []\nmodels: {bn: {space: bn}}\n"
          "figures: {sure: {study: confidence, temperature: 2}}\n")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Study]:
    """The example, as a package that is installed and that nothing has asked for yet."""
    site = tmp_path / "site"
    (site / "theirs-1.0.dist-info").mkdir(parents=True)
    (site / "theirs-1.0.dist-info" / "METADATA").write_text("Name: theirs\nVersion: 1.0\n")
    (site / "theirs-1.0.dist-info" / "entry_points.txt").write_text("[rnabench.studies]\nany = their_confidence\n")
    (site / "their_confidence.py").write_text(EXAMPLE.read_text())
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "their_confidence", raising=False)
    monkeypatch.setattr(STUDIES, "_things", dict(STUDIES.items()))
    monkeypatch.setattr(STUDIES, "_state", "not loaded")
    return STUDIES.get("confidence")


@pytest.fixture
def targets() -> list[Target]:
    images = random_images()
    data = EvaluationData(ResidentSource(images, torch.device("cpu")), "random", images.classes, "images", (), ())
    networks = {"bn": lively_model("bn"), "rna": lively_model("bn+in", seed=1)}
    return [Target(model, model, data, {"label": name, "weights_sha256": name, "arch": "tiny", "width": 8,
                                        "space": name, "objective": "standard", "randomised": model.space.is_random},
                   torch.device("cpu")) for name, model in networks.items()]


def test_a_study_of_another_package_leaves_what_every_study_leaves(
        installed: type[Study], targets: list[Target], tmp_path: Path) -> None:
    asked, file = installed.model_validate({"temperature": 2.0, "batch_size": 5}), tmp_path / "out" / "confidence.json"
    with pytest.raises(Stopped):
        run_study(targets, asked, file, Silent(), AfterSteps(2))
    record = run_study(targets, asked, file, Silent(), StopRequest())
    assert record == json.loads(file.read_text())
    assert record == run_study(targets, asked, file, Silent(), StopRequest())
    assert record["algorithms"]["confidence"] == installed.version
    write_study(record, tmp_path / "out" / "confidence", "How sure")
    assert visible(tmp_path / "out") == {f"confidence.{ending}" for ending in ("json", "csv", "md", "png", "svg")}
    table = pd.read_csv(tmp_path / "out" / "confidence.csv").set_index("model")
    for target in targets:  # by hand
        view = target.module.on(target.module.space.sample(stream(0, "confidence")))  # type: ignore[operator, union-attr]
        with torch.no_grad():
            logits = view(next(target.data.source.in_order(12)).images) / 2
        expected = logits.softmax(1).amax(1).mean().item()
        assert np.isclose(table.confidence[target.description["label"]], expected, atol=1e-6)
    text = (tmp_path / "out" / "confidence.md").read_text()
    assert text.startswith("# How sure\n\nConfidence: tiny width 8, naturally trained; random, 12 test images.")
    assert f"{table.confidence['rna']:.4g}" in text


def test_recipes_know_it_by_its_name_and_its_settings(installed: type[Study], tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(RECIPE)
    assert load_recipe(file).figures["sure"].study == installed.model_validate({"temperature": 2})
    file.write_text(RECIPE.replace("temperature: 2", "temperature: -1, temprature: 2"))
    with pytest.raises(InvalidSettings, match=r"(?s)figures.sure.temperature: -1 .*did you mean 'temperature'"):
        load_recipe(file)
    file.write_text(RECIPE.replace("confidence", "confidense"))
    with pytest.raises(InvalidSettings, match="did you mean 'confidence'"):
        load_recipe(file)


def test_a_study_that_declares_too_little_is_refused_before_it_computes() -> None:
    with pytest.raises(RnabenchError, match=r"Bare does not declare name, title, compute, .*, a docstring"):
        @study
        class Bare(Study):
            legend = ""


def test_the_list_of_studies_loads_nothing_that_computes() -> None:
    code = ("import sys; from rnabench.settings.studies import STUDIES; assert len(list(STUDIES)) >= 5\n"
            "sys.exit(', '.join({'torch', 'numpy', 'pandas', 'matplotlib'} & set(sys.modules)) or 0)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
