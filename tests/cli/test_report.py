"""`rnabench report` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnabench.cli.main import main
from rnabench.report.record_file import write_record
from tests.report.test_report import record


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exited:
        main(list(arguments))
    return int(exited.value.code or 0)


def test_a_page_for_folders_of_folders_and_for_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        write_record(record(name), tmp_path / "all" / name / "record.json")
    (tmp_path / "all" / "two" / "damaged.json").write_text("{")
    assert run("report", str(tmp_path / "all")) == 0
    told = capsys.readouterr()
    assert "result folders 2" in told.out
    assert [line for line in told.err.splitlines() if "damaged.json" in line] == told.err.splitlines()
    assert "two" in (tmp_path / "all" / "report.html").read_text()
    page = tmp_path / "new" / "page.html"
    assert run("report", str(tmp_path / "all" / "one"), str(tmp_path / "all" / "two"), "--out", str(page)) == 0
    assert page.exists()
    assert not (tmp_path / "all" / "one" / "report.html").exists()


def test_smoke_tests_on_demand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two-smoke"):
        write_record(record(name), tmp_path / name / "record.json")
    for options, folders in (((), 1), (("--smoke",), 2)):
        assert run("report", str(tmp_path), *options) == 0
        told = capsys.readouterr().out
        assert f"result folders {folders}" in told
        assert ("--smoke shows them" in told) is (folders == 1)


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, expected in ((tmp_path, "holds no results"), (tmp_path / "missing", "expected a folder of results")):
        assert run("report", str(folder)) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: FOLDER")
        assert expected in line
    write_record(record(), tmp_path / "a.json")
    (tmp_path / "file").write_text("")
    assert run("report", str(tmp_path), "--out", str(tmp_path / "file" / "page.html")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot write" in line
