"""`rnabench card` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rnabench.report.record_file import write_record
from tests.cli.test_report import run
from tests.report.test_report import record


def test_a_card_beside_the_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_record(record("mine"), tmp_path / "record.json")
    assert run("card", str(tmp_path / "record.json"), "--authors", "A. Nother", "--no-additional-data") == 0
    assert "mine.md, mine.json" in capsys.readouterr().out
    found = json.loads((tmp_path / "cards" / "mine.json").read_text())
    assert (found["authors"], found["additional_data"]) == ("A. Nother", False)
    assert run("report", str(tmp_path)) == 0, "a card is no result"


def test_mistakes_are_one_line_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_record(record(), tmp_path / "good" / "a.json")
    (tmp_path / "bad.json").write_text("{")
    for given in (["missing"], ["bad.json"], ["good", "bad.json"]):
        assert run("card", *(str(tmp_path / name) for name in given), "--out", str(tmp_path / "out")) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert "expected" in line
    assert not (tmp_path / "out").exists()
