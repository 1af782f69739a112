"""`rnabench check` as CI meets it: a deliberate break of an attack or a network fails, another seed does not."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from rnabench.attack.threat import L2, Linf
from rnabench.jobs.evaluate import attack
from rnabench.jobs.target import Target, open_data
from rnabench.model.classifier import RandomizedClassifier
from rnabench.norm.choice import NormChoice
from rnabench.norm.group_norm import GroupNorm
from rnabench.norm.layers import BatchGroupNorm, Norm
from rnabench.norm.statistics import Statistic, Statistics
from rnabench.report.accuracies import read_accuracies
from rnabench.report.table import write_tables
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import StopRequest
from rnabench.settings.datasets import DataSettings
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.recipe_loading import load_recipe
from tests.cli.test_cli import run
from tests.helpers import trained_digits

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "results" / "quickstart"
ATTACK = {"attacks": ["pgd3"], "protocols": ["paper"], "eps": "16/255", "n_examples": 128, "draws": 4,
          "batch_size": 16, "sanity": False}


@pytest.fixture(scope="module")
def network() -> RandomizedClassifier:
    return trained_digits()


def attacked(network: RandomizedClassifier, folder: Path, seed: int = 0) -> Path:
    """A folder of results like `rnabench attack`'s, of this network."""
    keys, cpu = EvaluationSettings.model_validate({**ATTACK, "seed": seed}), torch.device("cpu")
    description = {"label": "tiny", "space": "bn+in", "weights_sha256": "", "randomised": True}
    target = Target(network, network, open_data(DataSettings(), keys, cpu), description, cpu)
    write_tables([attack(target, keys, folder / "tiny.json", Silent(), StopRequest())], folder, "Tiny")
    return folder


@pytest.fixture(scope="module")
def good(network: RandomizedClassifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return attacked(network, tmp_path_factory.mktemp("good"))


def eps_off_by_a_factor(patch: pytest.MonkeyPatch) -> None:
    project = Linf.project
    patch.setattr(Linf, "project", lambda self, candidate, images: project(Linf(self.eps / 4), candidate, images))


def the_norm_of_the_ball_swapped(patch: pytest.MonkeyPatch) -> None:
    def project(self: Linf, candidate: Tensor, images: Tensor) -> Tensor:
        return L2(self.eps).project(candidate, images)

    patch.setattr(Linf, "project", project)


def the_normalisers_swapped(patch: pytest.MonkeyPatch) -> None:
    """Every one takes the statistics of all channels of an image, as LN does."""
    def of_all_channels(self: Norm, statistics: Statistics, used: Tensor | None = None) -> dict[Statistic, Tensor]:
        return {name: value.expand(-1, self.groups) for name, value in statistics.by_group(1, False).items()}

    for normaliser in (BatchGroupNorm, GroupNorm):
        patch.setattr(normaliser, "group_statistics", of_all_channels)
        patch.setattr(normaliser, "needs", frozenset({"mean", "var"}))
        patch.setattr(normaliser, "forward", Norm.forward)
    patch.setattr(NormChoice, "mixed", NormChoice.one_by_one)


@pytest.mark.parametrize("deliberate", [eps_off_by_a_factor, the_norm_of_the_ball_swapped, the_normalisers_swapped])
def test_a_deliberate_break_fails(deliberate: Callable[[pytest.MonkeyPatch], None], network: RandomizedClassifier,
                                  good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        deliberate(patch)
        attacked(network, tmp_path)
    assert run("check", str(tmp_path), "--against", str(good)) == 1
    assert re.search(r"FAIL 2 cells compared: .*(rose|fell)", capsys.readouterr().out)
    assert run("check", str(tmp_path / "table.csv"), "--against", str(good / "table.csv")) == 1


def test_another_seed_passes(network: RandomizedClassifier, good: Path, tmp_path: Path,
                             capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", str(attacked(network, tmp_path, seed=5)), "--against", str(good)) == 0
    assert "seed 5, was 0" in capsys.readouterr().out


def test_what_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["check", str(QUICKSTART), "--against", str(QUICKSTART)]
    assert run(*command) == 0
    assert capsys.readouterr().out == "PASS 10 cells compared: 10 pass\n"
    assert run(*command, "--all", "--out", str(tmp_path / "page.md")) == 0
    shown, page = capsys.readouterr().out, (tmp_path / "page.md").read_text()
    for text in (shown, page):
        assert text.count("passes") == 10
        for cell in read_accuracies(QUICKSTART, "results").cells.values():
            assert f"{100 * cell.accuracy:.1f}" in text
    shutil.copytree(QUICKSTART, tmp_path / "new")
    (tmp_path / "new" / "bn.json").unlink()
    assert run("check", str(tmp_path / "new"), "--against", str(QUICKSTART), "--out", str(tmp_path / "page.md")) == 1
    shown, page = capsys.readouterr().out, (tmp_path / "page.md").read_text()
    for text in (shown, page):
        assert "10 cells compared: 6 pass, 4 vanished" in text
        assert "worst case of 2" in text


@pytest.mark.parametrize(("arguments", "said"), [
    (["nowhere", "--against", "."], "results: 'nowhere' does not exist; expected a folder with records"),
    ([str(QUICKSTART), "--against", str(ROOT / "results" / "quikstart")], "did you mean 'quickstart'?"),
    ([str(QUICKSTART), "--against", str(ROOT / "results")], "--against: "),
    ([str(QUICKSTART), "--against", str(ROOT / "tests")], "has no results; expected"),
    ([str(QUICKSTART), "--against", str(ROOT / "README.md")], "expected a table.csv"),
    ([str(QUICKSTART), "--against", str(QUICKSTART), "--tolerance", "-1"], "--tolerance: -1.0 is not valid"),
    ([str(QUICKSTART), "--against", str(QUICKSTART), "--tolerance", "nan"], "--tolerance: nan is not valid"),
    ([str(QUICKSTART)], "--against"),
])
def test_bad_input_is_no_regression(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", *arguments) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_the_workflow_runs_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "results.yml").read_text())
    (job,) = workflow["jobs"].values()
    script = "\n".join(step.get("run", "") for step in job["steps"])
    commands = [line.split() for line in script.splitlines() if line.startswith("rnabench ")]
    assert [words[1] for words in commands] == ["reproduce", "check"]
    for _, command, *words in commands:
        assert run(command, "--help") == 0
        shown = capsys.readouterr().out
        for word in words:
            assert not word.startswith("--") or word in shown, word
    (_, _, recipe, *_, out), (_, _, results, _, against, *_) = commands
    loaded = load_recipe(ROOT / recipe)
    assert results == f"{out}/{loaded.name}"
    assert {file.stem for file in (ROOT / against).glob("*.json")} == set(loaded.table)
    assert json.loads((ROOT / against / "bn.json").read_text())["evaluation"]["suite"] == loaded.evaluate.suite
