"""Commands without a run: they take the runs that are there and say which, or say how to make one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rnabench.errors import CheckpointError
from rnabench.jobs.runs import run_to_attack, runs_for_study
from rnabench.settings.base import from_options
from rnabench.settings.studies import STUDIES, Study
from tests.cli.folders import run_folder
from tests.cli.test_cli import ATTACK, TRAIN, run
from tests.helpers import visible

COMMANDS = ["attack", *STUDIES]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("begun", [False, True])
def test_without_a_finished_run_one_line_says_how_to_make_one(
        command: str, begun: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if begun:
        run_folder(tmp_path / "runs" / "begun", 1e9, "training", weights=False)
        run_folder(tmp_path / "runs" / "broken", 1e9, weights=False)
    assert run(command, *(["--suite", "autoattack"] if command == "attack" else [])) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: RUN: no finished run in 'runs'")
    assert "`rnabench train`" in line
    assert "None" not in line
    assert ("2 unfinished or broken" in line) == begun


def test_attack_takes_the_newest_finished_run(tmp_path: Path) -> None:
    for name, age in (("oldest", 1e9), ("newest", 3e9), ("older", 2e9)):
        run_folder(tmp_path / name, age)
    run_folder(tmp_path / "begun", 4e9, "training", weights=False)
    run_folder(tmp_path / "broken", 5e9, weights=False)
    folder, said = run_to_attack(tmp_path)
    assert folder == tmp_path / "newest"
    assert str(folder) in said
    assert "the newest of 3" in said
    run_folder(tmp_path / "made elsewhere", 6e9, "converted")
    assert run_to_attack(tmp_path)[0].name == "made elsewhere"


def test_studies_take_all_finished_runs_on_the_newest_ones_data(tmp_path: Path) -> None:
    run_folder(tmp_path / "a", 1e9, space="bn")
    run_folder(tmp_path / "b", 2e9, space="bn", data="cifar10")
    run_folder(tmp_path / "c", 3e9, space="bn+in")
    run_folder(tmp_path / "d", 4e9, space="ln")
    run_folder(tmp_path / "begun", 9e9, "training", data="cifar10", weights=False)

    def names(kind: str, **keys: object) -> list[str]:
        settings: Study = from_options(STUDIES[kind], keys)
        folders, said = runs_for_study(settings, tmp_path)
        assert "digits" in said
        assert all(folder.name in said for folder in folders)
        return [folder.name for folder in folders]

    assert names("transfer-matrix") == names("theory") == names("smoothness") == ["a", "c", "d"]
    assert names("path-difference") == names("gradient-similarity", by_difference=True) == ["c"]  # it needs paths
    (tmp_path / "c" / "run.json").unlink()
    with pytest.raises(CheckpointError, match="--space bn"):
        names("path-difference")


def test_a_new_users_three_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*TRAIN) == 0
    assert run("attack", *ATTACK, "--attacks", "fgsm") == 0
    said = capsys.readouterr().err
    (folder,) = visible(tmp_path / "runs")
    assert f"no RUN given: attacking runs/{folder}, the one finished run in runs" in said
    assert "takes " in said
    shutil.move(tmp_path / "runs", tmp_path / "elsewhere")
    assert run("transfer-matrix", "--runs", "elsewhere", "--n-examples", "8", "--attack", "fgsm", "--draws", "2") == 0
    said = capsys.readouterr().err
    assert "the one finished run on digits in elsewhere" in said
    assert "takes " in said
    record = next((tmp_path / "elsewhere").glob("*/transfer-matrix-*/transfer-matrix.json"))
    assert len(json.loads(record.read_text())["models"]) == 1


def test_a_run_and_a_model_are_one_too_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("attack", str(tmp_path), "--model", "a:b") == 2
    assert "either a run folder or --model" in capsys.readouterr().err
