"""`--log` shows what runs do, in slices as in one piece, and leaves every number and every identity as it is."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorboard")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rnabench.jobs.evaluate import attack
from rnabench.jobs.target import load_run
from rnabench.jobs.train import train
from rnabench.report.record import Record
from rnabench.report.record_file import read_record
from rnabench.runtime.files import sha256
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import Stopped, StopRequest
from rnabench.settings.base import from_options
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.training import TrainingSettings
from tests.cli.test_cli import run
from tests.helpers import AfterSteps, visible

RECIPE = from_options(TrainingSettings, {"space": "bn+in", "width": 2, "steps": 1, "epochs": 3, "batch_size": 32,
                                         "n_train": 96, "n_holdout": 32})
KEYS = from_options(EvaluationSettings, {"attacks": ["fgsm", "pgd2"], "protocols": ["paper", "eot:2"], "n_examples": 8,
                                         "batch_size": 4, "draws": 2, "sanity": False})
LOG = ("tensorboard",)
ROOT = Path(__file__).parents[2]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def stop(steps: int | None) -> StopRequest:
    return StopRequest() if steps is None else AfterSteps(steps)


def trained(folder: Path, log: tuple[str, ...] = (), steps: int | None = None) -> dict[str, Any]:
    """With `steps`, stopped every so many of them."""
    while True:
        try:
            return train(RECIPE, folder, Silent(), stop(steps), "cpu", log=log)
        except Stopped:
            pass


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "run"
    trained(folder)
    return folder


def test_a_watched_training_in_slices_is_the_same_training(plain: Path, tmp_path: Path) -> None:
    watched = tmp_path / "run"
    trained(watched, LOG, steps=2)
    assert sha256(watched / "model.safetensors") == sha256(plain / "model.safetensors")
    first, second = (json.loads((folder / "run.json").read_text()) for folder in (plain, watched))
    assert first.keys() == second.keys()
    assert first["digest"] == second["digest"]
    assert "tensorboard" not in json.dumps(second)
    assert visible(watched) == visible(plain) | {"events"}
    with (watched / "log.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    found = scalars(watched / "events")
    assert found.keys() == rows[0].keys() - {"epoch"}
    assert found.keys() >= {"loss", "lr", "holdout_natural", "holdout_pgd", "images_per_second"}
    for tag, points in found.items():
        assert [step for step, _ in points] == [int(row["epoch"]) for row in rows] == [1, 2, 3]
        assert [value for _, value in points] == pytest.approx([float(row[tag]) for row in rows])


def attacked(run_folder: Path, file: Path, log: tuple[str, ...] = (), steps: int | None = None) -> Record:
    while True:
        try:
            target = load_run(run_folder, {}, KEYS, "cpu")
            return attack(target, KEYS, file, Silent(), stop(steps), log=log)
        except Stopped:
            pass


def test_a_watched_evaluation_in_slices_is_the_same_evaluation(plain: Path, tmp_path: Path) -> None:
    expected = attacked(plain, tmp_path / "plain" / "record.json")
    record = attacked(plain, tmp_path / "watched" / "record.json", LOG, steps=12)
    assert record.digest == expected.digest
    assert [result.outcomes for result in record.results] == [result.outcomes for result in expected.results]
    assert visible(tmp_path / "watched") == {"record.json", "record.events"}
    found = scalars(tmp_path / "watched" / "record.events")
    for number, result in enumerate(record.results, 1):
        name = f"{result.attack}/{result.protocol}"
        for what, value in zip(("accuracy", "low95", "high95"), (result.accuracy, *result.interval95), strict=True):
            assert found[f"{name}/{what}"] == [(number, pytest.approx(value))]
    assert len(found) == 3 * len(record.results)


def test_a_watched_recipe_leaves_nothing_in_results_that_git_sees(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(
        "name: tiny\ntitle: Tiny\n"
        "train: {width: 2, steps: 1, epochs: 1, n_train: 64, n_holdout: 32, batch_size: 32}\n"
        "models: {bn: {space: bn}}\n"
        "evaluate: {attacks: [fgsm], protocols: [paper], n_examples: 8, draws: 2, sanity: false}\n")
    results = tmp_path / "results"
    command = ["reproduce", str(tmp_path / "tiny.yaml"), "--runs", str(tmp_path / "runs"), "--device", "cpu"]
    assert run(*command, "--out", str(results), "--log", "tensorboard") == 0
    (trained,) = (tmp_path / "runs").glob("*/events")
    assert "loss" in scalars(trained)
    assert "fgsm/any/accuracy" in scalars(results / "tiny" / "bn.events")
    assert run(*command, "--out", str(tmp_path / "plain")) == 0
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    seen = {folder: subprocess.run([*git, "status", "--porcelain", "-uall", "--", folder], check=True, text=True,
                                   capture_output=True).stdout.replace(f" {folder}/", " ")
            for folder in ("results", "plain")}
    assert seen["results"] == seen["plain"] != ""
    first, second = (read_record(folder / "tiny" / "bn.json").digest for folder in (results, tmp_path / "plain"))
    assert first == second


@pytest.mark.parametrize("command", [["train"], ["attack", "absent"], ["reproduce", "quickstart"]])
def test_a_wrong_logger_is_refused_before_anything(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*command, "--log", "tensorboard,wandbb") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --log: 'wandbb' is not valid; expected one of ")
    assert "did you mean 'wandb'?" in line
    assert not list(tmp_path.iterdir())
