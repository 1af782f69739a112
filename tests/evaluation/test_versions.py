"""What is left of a stopped run is gone on from only by the algorithms that began it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rnabench.attack.gradient import FGSM, PGD
from rnabench.evaluation.cells import cells
from rnabench.evaluation.engine import algorithms_of, cell_name
from rnabench.jobs.evaluate import attack
from rnabench.jobs.foreign import load_foreign
from rnabench.jobs.train import train
from rnabench.runtime import journal as journals
from rnabench.runtime.files import sha256
from rnabench.runtime.journal import Journal
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import Stopped
from rnabench.settings import algorithms
from rnabench.settings.algorithms import cell_versions, outdated, study_versions, training_versions
from rnabench.settings.attacks import ATTACKS
from rnabench.settings.datasets import DataSettings
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.studies import STUDIES
from rnabench.settings.training import TrainingSettings
from tests.helpers import AfterBatches, AfterSteps, StopRequest, full_evaluation, lively_model

RECIPE = TrainingSettings(width=2, steps=1, epochs=2, n_train=64, n_holdout=16, batch_size=32, space="bn")


class Hearing(Silent):
    """Hears the lines, and how much of every piece of work was done when it began."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.done: list[int] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def begin(self, title: str, total: int, done: int = 0) -> None:
        self.done.append(done)


def stopped_training(folder: Path) -> None:
    with pytest.raises(Stopped):
        train(RECIPE, folder, Silent(), AfterSteps(3), "cpu")
    assert (folder / "state.pt").exists()


def test_a_stopped_training_of_other_algorithms_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_training(tmp_path / "same")
    stopped_training(tmp_path / "other")
    heard = Hearing()
    train(RECIPE, tmp_path / "same", heard, StopRequest(), "cpu")
    assert heard.done[0] > 0
    assert not any("anew" in line for line in heard.lines)

    monkeypatch.setattr(algorithms, "TRAINING", algorithms.TRAINING + 1)
    heard = Hearing()
    run = train(RECIPE, tmp_path / "other", heard, StopRequest(), "cpu")
    assert heard.done[0] == 0
    assert sum("begun anew" in line and f"training {algorithms.TRAINING - 1}, now" in line for line in heard.lines) == 1
    assert run["algorithms"]["training"] == algorithms.TRAINING
    weights = {sha256(tmp_path / name / "model.safetensors") for name in ("same", "other")}
    assert len(weights) == 1


def test_a_stopped_training_from_before_there_were_versions_is_begun_anew(tmp_path: Path) -> None:
    stopped_training(tmp_path)
    run = json.loads((tmp_path / "run.json").read_text())
    del run["algorithms"]
    (tmp_path / "run.json").write_text(json.dumps(run))
    heard = Hearing()
    assert train(RECIPE, tmp_path, heard, StopRequest(), "cpu")["status"] == "finished"
    assert heard.done[0] == 0
    assert any("before algorithms had versions" in line for line in heard.lines)


def test_versions_are_no_part_of_a_run_folders_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = RECIPE.digest()
    monkeypatch.setattr(algorithms, "TRAINING", 99)
    assert RECIPE.digest() == before


def test_a_stopped_cell_of_another_version_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"attacks": ["fgsm", "pgd2"], "protocols": ["paper"], "sanity": False}
    full_evaluation(lively_model(), folder=tmp_path, **keys)
    heard = Hearing()
    full_evaluation(lively_model(), folder=tmp_path, progress=heard, **keys)
    assert not heard.done
    monkeypatch.setattr(FGSM, "version", FGSM.version + 1)
    full_evaluation(lively_model(), folder=tmp_path, progress=heard, **keys)
    assert heard.done == [0]  # of three cells: natural and PGD are what they were


def test_every_cell_names_the_versions_that_it_rests_on(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = EvaluationSettings(attacks=("fgsm", "pgd2"), protocols=("paper", "eot:2", "resample"))

    def rest_on(name: str) -> set[tuple[str, str]]:
        before = {cell.key: cell_name(cell, keys, 8) for cell in cells(keys, True)}
        with monkeypatch.context() as patch:
            if name in ("fgsm", "pgd"):
                patch.setattr(ATTACKS[name], "version", 99)
            else:
                patch.setattr(algorithms, name, 99)
            return {cell.key for cell in cells(keys, True) if cell_name(cell, keys, 8) != before[cell.key]}

    everything = {cell.key for cell in cells(keys, True)}
    attacked = everything - {("natural", "any")}
    assert rest_on("STREAMS") == rest_on("SCORING") == everything
    assert rest_on("pgd") == {key for key in attacked if key[0] == "pgd2"}
    assert rest_on("ONE_PATH") == {key for key in attacked if key[1] == "paper"}
    assert rest_on("EXPECTATION") == attacked - rest_on("ONE_PATH")
    assert rest_on("TRAINING") == set()
    assert algorithms_of(cells(keys, True)[0]) == cell_versions(None, False)


def test_every_attack_and_study_has_a_version() -> None:
    for kind in ATTACKS:
        assert cell_versions(kind, True)[kind] >= 1
    for study in STUDIES:
        assert study_versions(study, None)[study] >= 1
        assert study_versions(study, "pgd")["pgd"] == PGD.version
    assert training_versions("last").items() < training_versions("best").items()


def test_what_is_outdated_in_words() -> None:
    assert outdated({"a": 1, "b": 2}, {"b": 2, "a": 1}) == []
    assert outdated({"a": 1, "old": 1}, {"a": 2, "new": 1}) == ["a 1, now 2", "old 1, now none", "new none, now 1"]
    assert outdated(None, {}) == ["made before algorithms had versions"]


def test_every_batch_is_kept_with_what_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for git in ("first", "second", "second"):
        monkeypatch.setattr(journals, "made_by", lambda device, git=git: {"git": git, "device": device})
        Journal(tmp_path / "lines", "digest").append(("a",), {"value": git})
    kept = Journal(tmp_path / "lines", "digest")
    makers = [{"git": "first", "device": "cpu"}, {"git": "second", "device": "cpu"}]
    assert kept.makers() == kept.makers(("a",)) == makers
    assert kept.makers(("b",)) == []


def test_the_makers_of_a_cell_are_those_of_its_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"attacks": ["fgsm"], "protocols": ["paper"], "sanity": False}
    with pytest.raises(Stopped):
        full_evaluation(lively_model(), folder=tmp_path, stop=AfterBatches(tmp_path / "progress", 4), **keys)
    monkeypatch.setattr(journals, "made_by", lambda device: {"git": "another", "torch": "0", "device": device})
    full_evaluation(lively_model(), folder=tmp_path, **keys)
    settings = EvaluationSettings.model_validate({**keys, "draws": 3, "batch_size": 4})
    kept = Journal(tmp_path / "progress", "digest")
    natural, fgsm = (kept.makers(cell_name(cell, settings, 12)) for cell in cells(settings, True))
    assert [maker["git"] == "another" for maker in natural] == [False]
    assert [maker["git"] == "another" for maker in fgsm] == [False, True]


def test_the_attack_command_makes_a_stale_record_anew_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                   ) -> None:
    keys = EvaluationSettings(attacks=("fgsm",), n_examples=2, sanity=False)
    target, file = load_foreign("tests.cli.models:linear", DataSettings(), keys, "cpu"), tmp_path / "record.json"
    first = attack(target, keys, file, Silent(), StopRequest())
    monkeypatch.setattr(FGSM, "version", FGSM.version + 1)
    heard = Hearing()
    second = attack(target, keys, file, heard, StopRequest())
    anew, *durations = heard.lines
    assert anew == f"made anew: record.json is stale (fgsm {FGSM.version - 1}, now {FGSM.version})"
    assert all(line.startswith("takes ") for line in durations)
    assert str(second.made) > str(first.made)
    assert second.settings_digest == first.settings_digest
    assert second.digest != first.digest
    assert [cell.outcomes for cell in second.results] == [cell.outcomes for cell in first.results]
