"""What another package brings by entry points is there by name: it trains, is attacked, and is missed in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_cli import run

PACKAGE = Path(__file__).parent / "other_package"  # a package and its *.dist-info, as pip would install them
COMMANDS = """
import sys, torch
from rnabench.cli.main import main

def call(*words):
    try: main(list(words))
    except SystemExit as end: assert not end.code, words

torch.set_num_threads(1)
folder, made = sys.argv[1:]
call("describe", "--dataset", "stripes", "--arch", "two-layers")
call("train", "--dataset", "stripes", "--arch", "two-layers", "--width", "2", "--objective", "half-clean", "--steps",
     "1", "--epochs", "1", "--batch-size", "16", "--n-train", "32", "--space", "rms4+bn", "--activation",
     "relu+leaky0.2", "--defence", "holes0.2", "--device", "cpu", "--log", "lines", "--out", folder)
attack = ["--attacks", "pgd1,nudge2", "--draws", "2", "--no-sanity", "--device", "cpu"]
call("attack", folder, "--n-examples", "8", "--out", f"{made}/run", *attack)
call("attack", "--model", "noisy-differences", "--dataset", "stripes", "--out", f"{made}/defence", *attack)
call("attack", folder, "--n-examples", "8", "--corruption", "rain:3", "--out", f"{made}/rain", *attack)
call("confidence", folder, "--temperature", "2", "--device", "cpu", "--out", f"{made}/study")
"""


@pytest.mark.slow
def test_another_packages_things_train_and_are_attacked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "trained"
    installed = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE), *sys.path])}
    done = subprocess.run([sys.executable, "-c", COMMANDS, str(folder), str(tmp_path)], capture_output=True, text=True,
                          env=installed)
    assert done.returncode == 0, done.stderr
    assert "two-layers, width 16, space bn+in, 32x32 images, 2 classes" in " ".join(done.stdout.split())
    trained = json.loads((folder / "run.json").read_text())
    recipe = [trained["recipe"][key] for key in ("dataset", "arch", "objective")]
    assert recipe == ["stripes", "two-layers", "half-clean"]
    assert [trained["model"][part] for part in ("space", "activation", "defence")] == [
        "rms4+bn", "relu+leaky0.2", "holes0.2"]
    assert trained["model"]["classes"] == ["rows", "columns"]
    (line,) = (folder / "events" / "lines.jsonl").read_text().splitlines()
    assert json.loads(line)["step"] == 1
    own, defence = (json.loads((tmp_path / name / "record.json").read_text()) for name in ("run", "defence"))
    rain = json.loads((tmp_path / "rain" / "record.json").read_text())["data"]
    assert (rain["name"], rain["indices"]) == ("stripes, rain:3", own["data"]["indices"])
    assert rain["fingerprint"] != own["data"]["fingerprint"]
    assert (len(own["data"]["indices"]), len(defence["data"]["indices"])) == (8, 32)
    assert {result["attack"] for result in own["results"]} >= {"pgd1", "nudge2"}
    assert sorted(file.name for file in (tmp_path / "study").iterdir() if file.is_file()) == [
        f"confidence.{suffix}" for suffix in ("csv", "json", "md", "png", "svg")]
    described = defence["model"]
    assert (described["label"], described["randomised"], described["replayable"]) == ("noisy-differences", True, True)
    assert described["code"]["source_sha256"] is not None
    natural = next(result for result in defence["results"] if result["attack"] == "natural")
    assert natural["accuracy"] > 0.9

    assert run("attack", str(folder), "--device", "cpu") == 2  # here, where that package is not installed
    assert "'two-layers' is not valid; expected one of lenet5, resnet110, resnet18, " in capsys.readouterr().err
    assert run("attack", "--model", "noisy-differences") == 2
    assert "--model: 'noisy-differences' is not valid; expected package.module:factory" in capsys.readouterr().err
