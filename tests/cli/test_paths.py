"""Places that cannot be written to or read are refused before anything starts that takes time."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from rnabench.cli import command, main
from tests.cli.test_cli import run

ROOT = Path(__file__).parents[2]
LONG = "x" * 300
COMMANDS = {  # with the least that they ask for
    "train": [], "attack": ["run"], "reproduce": [str(ROOT / "recipes" / "quickstart.yaml")], "report": ["."],
    "check": [".", "--against", "."], "card": ["."], "rescore": ["x.json"], "bench": [], "crosscheck": ["run"],
    "convert": ["x.pt"], "export": ["run"], "theory": ["run"], "dense": ["net=x.pt", "--data-dir", "."],
}


@pytest.fixture(autouse=True)
def _nothing_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("out", [LONG, f"a/{LONG}/b", "file/b", "é" * 128])
def test_where_nothing_can_be_written(name: str, out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("kept")
    assert run(name, *COMMANDS[name], "--out", out) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --out: ")
    assert len(line) < 500
    assert {file.name for file in tmp_path.iterdir()} == {"file"}


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"report", "check", "export"}))
def test_a_file_is_no_folder(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("kept")
    assert run(name, *COMMANDS[name], "--out", "file") == 2
    assert "'file' is no folder" in capsys.readouterr().err
    for other in ("report", "check", "export"):
        with pytest.raises(AssertionError, match="started"):
            main.main([other, *COMMANDS[other], "--out", "file"])
    assert (tmp_path / "file").read_text() == "kept"


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
