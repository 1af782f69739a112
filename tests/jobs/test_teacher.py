"""A student and its teacher: who is trained first, what the run folder says, and what makes either stale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rnabench.errors import CheckpointError, InvalidValue, RnabenchError
from rnabench.evaluation.cost import Speed
from rnabench.jobs.plan import forecast
from rnabench.jobs.reproduce import Place, check, reproduce
from rnabench.jobs.teacher import with_teacher
from rnabench.jobs.train import run_name, stale_reasons, train
from rnabench.report.record_file import read_record
from rnabench.runtime.files import sha256
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import Stopped, StopRequest
from rnabench.settings import algorithms
from rnabench.settings.base import from_options
from rnabench.settings.recipe import Recipe
from rnabench.settings.recipe_loading import load_recipe
from rnabench.settings.training import TrainingSettings
from tests.cli.test_cli import run
from tests.helpers import AfterSteps, visible

SMALL: dict[str, Any] = {"dataset": "digits16", "width": 2, "steps": 1, "epochs": 1, "n_train": 16, "n_holdout": 4,
                         "batch_size": 8, "lr": 0.01}
TEXT = f"""\
name: tiny
title: Tiny
train: {json.dumps(SMALL)}
models:
  SORS: {{space: gn2+ln, objective: sors, orthogonality: 0, teacher: plain}}
  plain: {{space: gn2, objective: standard}}
table: [SORS]
evaluate: {{attacks: [fgsm], protocols: [paper], n_examples: 4, batch_size: 4, draws: 2, sanity: false}}
"""


def recipe(folder: Path, text: str = TEXT) -> Recipe:
    (folder / "tiny.yaml").write_text(text)
    return load_recipe(folder / "tiny.yaml")


def place(folder: Path, refresh: bool = False) -> Place:
    return Place(folder / "runs", folder / "results" / "tiny", "cpu", refresh)


def settings(**changes: object) -> TrainingSettings:
    student = {"space": "gn2+ln", "objective": "sors", "orthogonality": 0.0}
    return from_options(TrainingSettings, {**SMALL, **(changes if "space" in changes else student | changes)})


def trained(folder: Path, stop: StopRequest | None = None, **changes: object) -> Path:
    train(settings(**changes), folder, Silent(), stop or StopRequest(), "cpu")
    return folder


@pytest.fixture(autouse=True)
def _untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnabench.jobs.durations.speed", lambda *_: Speed(1.0, 0.5))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "plain", space="gn2", objective="standard")


def test_reproduce_trains_the_teacher_first_and_again_when_it_is_stale(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, where = recipe(tmp_path), place(tmp_path)
    assert [(piece.kind, piece.name) for piece in forecast(found, where)] == [
        ("train", "SORS"), ("train", "plain"), ("attack", "SORS")]
    reproduce(found, found, where, Silent(), StopRequest())
    assert [piece.state for piece in forecast(found, where)] == ["done"] * 3
    student, teacher = (where.run(found.models[name]) for name in ("SORS", "plain"))
    assert visible(where.runs) == {student.name, teacher.name}
    kept = json.loads((student / "run.json").read_text())
    assert kept["teacher"]["run"] == teacher.name
    assert kept["teacher"]["weights_sha256"] == sha256(teacher / "model.safetensors")
    record = read_record(where.record("SORS"))
    assert record.model.recipe is not None
    assert record.model.recipe["teacher"]["space"] == "gn2"
    assert "data_dir" not in record.model.recipe["teacher"]

    monkeypatch.setattr(algorithms, "SELECTION", algorithms.SELECTION + 1)
    why = f"selection {algorithms.SELECTION - 1}, now {algorithms.SELECTION}"
    assert stale_reasons(kept) == [why, f"its teacher: {why}"]
    assert stale_reasons(kept | {"recipe": kept["recipe"] | {"select": "last"}})[-1] == f"its teacher: {why}"
    reproduce(found, found, place(tmp_path, refresh=True), Silent(), StopRequest())
    assert stale_reasons(json.loads((student / "run.json").read_text())) == []


def test_a_student_that_is_trained_by_itself_waits_for_nobody(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no run\.json"):
        train(recipe(tmp_path).models["SORS"], tmp_path / "student", Silent(), StopRequest(), "cpu")
    assert visible(tmp_path) == {"tiny.yaml"}


def test_a_randomised_teacher_and_a_network_of_one_path_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    for old, new, said in (("space: gn2,", "space: gn2+bn,", "models.SORS: --teacher: 'digits16-resnet18-gn2+bn'"),
                           ("gn2+ln", "ln", "models.SORS: --objective: 'sors'")):
        with pytest.raises(RnabenchError) as raised:
            check(recipe(tmp_path, TEXT.replace(old, new)), "cpu")
        assert str(raised.value).startswith(said)


def test_from_the_command_line_with_the_folder_of_a_run(plain: Path, tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    command = ["train", *options, "--space", "gn2+ln", "--objective", "sors", "--orthogonality", "0",
               "--device", "cpu", "--teacher", str(plain)]
    assert run(*command) == 0
    (student,) = [tmp_path / "runs" / name for name in visible(tmp_path / "runs")]
    assert student.name == run_name(with_teacher(settings(), plain)) != run_name(settings())
    described = json.loads((student / "run.json").read_text())
    assert described["recipe"]["teacher"]["space"] == "gn2"
    assert described["teacher"]["run"] == "plain"
    before = (student / "model.safetensors").stat().st_mtime_ns
    assert run(*command) == 0
    assert (student / "model.safetensors").stat().st_mtime_ns == before
    assert run("attack", str(student), "--attacks", "fgsm", "--n-examples", "4", "--draws", "2", "--no-sanity",
               "--device", "cpu", "--out", str(tmp_path / "out")) == 0


def test_a_stopped_student_goes_on_with_the_same_teacher_and_begins_anew_with_another(
        plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    student, weights = with_teacher(settings(epochs=2), plain), []
    for stop in (None, AfterSteps(1)):
        folder = tmp_path / str(len(weights))
        if stop is not None:
            with pytest.raises(Stopped):
                train(student, folder, Silent(), stop, "cpu", teacher=plain)
        train(student, folder, Silent(), StopRequest(), "cpu", teacher=plain)
        weights.append(sha256(folder / "model.safetensors"))
    assert weights[0] == weights[1]

    class Heard(Silent):
        def line(self, text: str) -> None:
            lines.append(text)

    lines: list[str] = []
    with pytest.raises(Stopped):
        train(student, tmp_path / "2", Silent(), AfterSteps(1), "cpu", teacher=plain)
    file = tmp_path / "2" / "run.json"
    kept = json.loads(file.read_text())
    file.write_text(json.dumps(kept | {"teacher": kept["teacher"] | {"weights_sha256": "0"}}))
    train(student, tmp_path / "2", Heard(), StopRequest(), "cpu", teacher=plain)
    assert any("begun anew" in line and "its teacher was trained anew" in line for line in lines)
    assert sha256(tmp_path / "2" / "model.safetensors") == weights[0]


def test_a_teacher_of_other_classes_or_images_or_another_recipe_is_told(plain: Path, tmp_path: Path) -> None:
    student = with_teacher(settings(), plain)
    for change, error, said in (
        ({"model": {"classes": ["a", "b"]}}, InvalidValue, "a teacher of another data set"),
        ({"data": {"fingerprint": "0"}}, InvalidValue, "a teacher of another data set"),
        ({"digest": "0"}, CheckpointError, "holds no finished run"),
        ({"status": "training"}, CheckpointError, "holds no finished run"),
    ):
        other = tmp_path / "other"
        other.mkdir(exist_ok=True)
        described = json.loads((plain / "run.json").read_text())
        for key, value in change.items():
            described[key] = described[key] | value if isinstance(value, dict) else value
        (other / "run.json").write_text(json.dumps(described))
        (other / "model.safetensors").write_bytes((plain / "model.safetensors").read_bytes())
        with pytest.raises(error, match=said):
            train(student, tmp_path / "student", Silent(), StopRequest(), "cpu", teacher=other)
        assert not (tmp_path / "student").exists()


def test_a_folder_that_does_not_say_how_it_was_trained_is_no_teacher(plain: Path, tmp_path: Path) -> None:
    described = json.loads((plain / "run.json").read_text())
    for change, said in (({"status": "converted"}, "converted; expected a finished run"),
                         ({"recipe": described["recipe"] | {"novel": 1}}, "of another version"),
                         ({"digest": "0"}, "of another version")):
        (tmp_path / "run.json").write_text(json.dumps(described | change))
        with pytest.raises(CheckpointError, match=said):
            with_teacher(settings(), tmp_path)
