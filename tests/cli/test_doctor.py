"""`rnabench doctor` and `rnabench recipes`, as a user and as a program read them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from rnabench.jobs import doctor
from rnabench.settings.shipped import names
from tests.cli.test_cli import run
from tests.helpers import RECIPES


def examined(folder: Path) -> dict[str, doctor.Finding]:
    return {each.what: each for each in doctor.examine(folder / "runs", folder / "out", folder / "data", False)}


def test_it_says_what_is_there_and_leaves_nothing_behind(tmp_path: Path) -> None:
    found = examined(tmp_path)
    assert found["versions"].state == "OK"
    assert torch.__version__.split("+")[0] in found["versions"].found
    assert found["data digits"].state == "OK"
    assert (found["data cifar10"].state, "--download" in found["data cifar10"].advice) == ("WARN", True)
    assert found["--runs locks"].state == "OK"
    assert list(tmp_path.iterdir()) == []


def test_every_lack_comes_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.9.1")
    monkeypatch.setattr(doctor, "LEAST_FREE", 1e9)
    monkeypatch.setattr(doctor, "COMPILES", "raise SystemExit('no compiler')")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 10_000)
    found = {each.what: each for each in doctor.examine(tmp_path, tmp_path, tmp_path)}
    assert found["versions"].state == "FAIL"
    assert {"processor", "--compile", "--runs disk"} <= {what for what, each in found.items() if each.state == "WARN"}
    assert all(each.advice for each in found.values() if each.state != "OK")
    assert "no compiler" in found["--compile"].found


def test_a_compiler_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*command: Any, timeout: float, **options: Any) -> None:
        raise subprocess.TimeoutExpired("python", timeout)

    monkeypatch.setattr(doctor.subprocess, "run", hang)
    assert doctor._compile().state == "WARN"


def test_as_json_both_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
                                   ) -> None:
    monkeypatch.chdir(tmp_path)
    code = run("doctor", "--no-compile", "--json")
    told = json.loads(capsys.readouterr().out)
    found = told["findings"]
    assert code == told["failed"] == any(each["state"] == "FAIL" for each in found)
    assert [each["what"] for each in found] == list(examined(tmp_path))
    assert run("recipes", "--json") == 0
    listed = json.loads(capsys.readouterr().out)["recipes"]
    assert [each["name"] for each in listed] == names()
    assert all(Path(each["file"]).is_file() for each in listed)


def test_a_recipe_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("recipes", "quickstart") == 0
    assert capsys.readouterr().out == (RECIPES / "quickstart.yaml").read_text()
    assert run("recipes", "quickstrat") == 2
    assert "did you mean 'quickstart'" in capsys.readouterr().err
