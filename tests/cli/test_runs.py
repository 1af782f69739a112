"""`rnabench runs`: whatever lies in the folder, it is listed, and nothing breaks the list."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rnabench.jobs.runs import HEADINGS, list_runs
from rnabench.model.runs import find_runs
from rnabench.runtime.locks import claimed
from tests.cli.folders import run_folder
from tests.cli.test_cli import run

RECORD = Path(__file__).parents[2] / "results" / "quickstart" / "bn+in.json"


def rows(folder: Path) -> dict[str, dict[str, str]]:
    return {Path(row[0]).name: dict(zip(HEADINGS, row, strict=True)) for row in list_runs(folder)}


def test_newest_first_with_what_each_is_and_how_far(tmp_path: Path) -> None:
    run_folder(tmp_path / "old", 1e9)
    run_folder(tmp_path / "new", 3e9, space="bn", data="cifar10")
    run_folder(tmp_path / "begun", 2e9, "training", done=1, epochs=9, weights=False)
    listed = rows(tmp_path)
    assert list(listed) == ["new", "begun", "old"]
    new, begun = listed["new"], listed["begun"]
    assert (new["network"], new["space"], new["data"]) == ("resnet18 width 2", "bn", "cifar10")
    assert (new["state"], new["epochs"], new["natural %"], new["attacked %"]) == ("finished", "2", "98.7", "65.4")
    assert (new["measured on"], new["MB"]) == ("held-out, PGD-3", "3.0")
    assert (begun["state"], begun["epochs"], begun["natural %"]) == ("unfinished", "1 of 9", "10.0")
    assert list_runs(tmp_path / "old") == [list_runs(tmp_path)[2]]


def test_what_is_broken_is_listed_as_such_and_what_is_no_run_is_not(tmp_path: Path) -> None:
    run_folder(tmp_path / "whole", 9e8)
    for name, text in {"cut": '{"status": "fini', "list": "[]", "other": '{"model": 3, "recipe": {}}',
                       "binary": "\0\0"}.items():
        (run_folder(tmp_path / name, 1e9) / "run.json").write_text(text)
    (run_folder(tmp_path / "bytes", 1e9) / "run.json").write_bytes(b"\xff\xfe")
    (run_folder(tmp_path / "nothing", 1e9) / "run.json").unlink()
    (run_folder(tmp_path / "weightless", 1e9) / "model.safetensors").unlink()
    (run_folder(tmp_path / "logless", 1e9) / "log.csv").write_bytes(b"\0\xff,\n")
    odd = {"status": "finished", "model": {}, "recipe": {}, "data": 7, "selected": []}
    (run_folder(tmp_path / "odd", 1e9) / "run.json").write_text(json.dumps(odd))
    (tmp_path / "notes").mkdir()
    (tmp_path / "file").write_text("")
    listed = rows(tmp_path)
    assert not {"notes", "file"} & listed.keys()
    states = {name: row["state"] for name, row in listed.items()}
    assert states.pop("whole") == states.pop("logless") == states.pop("odd") == "finished"
    assert states == {
        **dict.fromkeys(("cut", "list", "other", "binary", "bytes"), "broken: run.json is damaged"),
        "nothing": "broken: run.json is missing", "weightless": "broken: model.safetensors is missing"}
    assert [found.folder.name for found in find_runs(tmp_path) if not found.finished and found.fault] == [
        name for name in listed if listed[name]["state"].startswith("broken")]


def test_accuracies_are_those_of_the_newest_record(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", 1e9)
    for name in ("attack-a", "attack-b"):
        (folder / name).mkdir()
    (folder / "attack-a" / "record.json").write_text(RECORD.read_text())
    (folder / "attack-b" / "record.json").write_text("{")  # half a record breaks nothing
    row, record = rows(tmp_path)["run"], json.loads(RECORD.read_text())
    natural = next(result["accuracy"] for result in record["results"] if result["attack"] == "natural")
    assert row["natural %"] == f"{100 * natural:.1f}"
    assert row["attacked %"] == f"{100 * record['headline']['accuracy']:.1f}"
    assert row["measured on"] == "397 test images, worst case of 2"


def test_one_that_is_trained_at_this_moment_says_so(tmp_path: Path) -> None:
    run_folder(tmp_path / "run", 1e9, "training", weights=False)
    with claimed(tmp_path / "run", "run"):
        assert rows(tmp_path)["run"]["state"] == "in training"


def test_on_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_folder(tmp_path / "runs" / "a[1]", 1e9, space="gn[1-4]")
    assert run("runs", str(tmp_path / "runs")) == 0
    shown = capsys.readouterr().out
    assert "a[1]" in shown
    assert "gn[1-4]" in shown
    assert run("runs", str(tmp_path / "runs" / "a[1]")) == 0
    (tmp_path / "empty").mkdir()
    assert run("runs", str(tmp_path / "empty")) == 0
    assert "`rnabench train` makes one" in capsys.readouterr().out
    assert run("runs", str(tmp_path / "none")) == 2
    assert "FOLDER: " in capsys.readouterr().err
