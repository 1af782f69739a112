"""Places that cannot be written to or read are refused before anything starts that takes time."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path

import pytest

from rnabench.cli import command, main
from tests.cli.test_cli import run

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "results" / "quickstart"
LONG = "x" * 300
COMMANDS = {  # with the least that they ask for
    "train": [], "attack": ["run"], "reproduce": [str(ROOT / "recipes" / "quickstart.yaml")], "report": ["."],
    "check": [".", "--against", "."], "card": ["."], "rescore": ["x.json"], "bench": [], "crosscheck": ["run"],
    "convert": ["x.pt"], "export": ["run"], "theory": ["run"], "dense": ["net=x.pt", "--data-dir", "."],
}


@pytest.fixture
def nothing_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every command's function fails; what makes the options of it does not."""
    monkeypatch.chdir(tmp_path)

    def marked(function: object, name: str) -> object:
        def starts(**values: object) -> None:
            raise AssertionError(f"{name} started")

        return real(_like(function, starts), name)

    real = command.command
    monkeypatch.setattr(main, "command", marked)


def _like(function: object, other: object) -> object:
    return functools.wraps(function)(other)  # type: ignore[arg-type]


@pytest.mark.usefixtures("nothing_starts")
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("out", [LONG, f"a/{LONG}/b", "file/b", "é" * 128])
def test_where_nothing_can_be_written(name: str, out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("kept")
    assert run(name, *COMMANDS[name], "--out", out) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --out: ")
    assert len(line) < 500
    assert {file.name for file in tmp_path.iterdir()} == {"file"}


@pytest.mark.usefixtures("nothing_starts")
@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"report", "check", "export"}))
def test_a_file_is_no_folder(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("kept")
    assert run(name, *COMMANDS[name], "--out", "file") == 2
    assert "'file' is no folder" in capsys.readouterr().err
    for other in ("report", "check", "export"):
        with pytest.raises(AssertionError, match="started"):
            main.main([other, *COMMANDS[other], "--out", "file"])
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.usefixtures("nothing_starts")
@pytest.mark.parametrize("arguments", [
    ["attack", LONG], ["report", ".", LONG], ["runs", LONG], ["card", LONG], ["reproduce", LONG], ["theory", LONG],
    ["check", LONG, "--against", "."], ["check", ".", "--against", LONG], ["attack", "--baseline", LONG],
    ["train", "--data-dir", LONG, "--dataset", "folder"], ["train", "--teacher", LONG], ["rescore", LONG],
    ["attack", "--model", "a:b", "--model-weights", LONG], ["attack", "--runs", LONG],
])
def test_names_that_no_file_has(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected names of at most 255 bytes" in line
    assert len(line) < 500


def test_a_baseline_is_read_before_anything_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Here there is not even a network to attack."""
    record = json.loads((QUICKSTART / "bn.json").read_text())
    for change in ({}, {"digest": 5}, {"threat": {"eps": "8/255"}}, {"results": []}, {"sanity": {}}):
        (tmp_path / "record.json").write_text(json.dumps(record | change))
        arguments = ["attack", str(tmp_path / "absent"), "--baseline", str(tmp_path / "record.json")]
        assert run(*arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert ("record.json" in line) == bool(change)


def test_check_does_not_read_the_table_beside_an_empty_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                                              ) -> None:
    shutil.copytree(QUICKSTART, tmp_path / "new")
    for file in (tmp_path / "new").glob("*.json"):
        file.write_text("{}")
    for new, old in ((tmp_path / "new", QUICKSTART), (QUICKSTART, tmp_path / "new")):
        assert run("check", str(new), "--against", str(old)) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "is no record" in line


def test_the_widest_network_is_described_without_its_memory(capsys: pytest.CaptureFixture[str]) -> None:
    """Ten gigabytes of parameters: every convolution between stages of w channels has w^2 times a constant of them."""
    counts = []
    for width in (256, 512, 1024):
        assert run("describe", "--arch", "resnet18", "--space", "bn", "--width", str(width)) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("parameters: ")]
        counts.append(int(line.removeprefix("parameters: ").replace(",", "")))
    assert counts[2] > 2e9
    assert counts[2] / counts[1] == pytest.approx(counts[1] / counts[0], rel=0.01) == pytest.approx(4, rel=0.01)
