"""The README tells the truth: its screen is the committed result, and so are all tables of results. Its commands and
those of the other pages are held by tests/docs."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rnabench.report.record_file import read_record, read_study
from rnabench.report.staleness import reasons
from rnabench.report.study import markdown
from rnabench.report.table import caption, display

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_screen_is_the_committed_result() -> None:
    records = [read_record(ROOT / "results" / "quickstart" / f"{name}.json") for name in ("bn", "bn+in")]
    lines = {" ".join(line.split()) for line in README.splitlines()}
    headings, rows = display(records)
    for row in (headings, (caption(records),), *rows):
        assert " ".join(row) in lines


def test_every_committed_record_agrees_with_its_tables() -> None:
    folders = [file.parent for file in (ROOT / "results").glob("*/table.md")]
    assert folders
    for folder in folders:
        lines = {" ".join(line.replace("|", " ").split()) for line in (folder / "table.md").read_text().splitlines()}
        records = [read_record(file) for file in folder.glob("*.json") if not is_study(file)]
        assert records, folder
        for row in display(records)[1]:
            assert " ".join(row) in lines, folder
        said = [line for line in lines if line.startswith("WARN ") and ": stale (" in line]
        for record in records:
            name, why = record.label, "; ".join(reasons(record))
            marked = [line for line in said if name in line.removeprefix("WARN ").split(": stale (")[0].split(", ")]
            assert [f": stale ({why})" in line for line in marked] == [True] * bool(why), (folder, name)


def is_study(file: Path) -> bool:
    return "study" in json.loads(file.read_text())


def test_every_committed_study_agrees_with_its_page() -> None:
    files = [file for file in (ROOT / "results").glob("*/*.json") if is_study(file)]
    assert files
    for file in files:
        page = file.with_suffix(".md").read_text()
        assert markdown(read_study(file), page.splitlines()[0].removeprefix("# ")) == page, file


def test_the_commands_that_others_look_for_stand_in_lines_of_their_own() -> None:
    """`.ci/run` runs the second as it stands."""
    first, second = [line for line in README.splitlines() if line.startswith("python3 -m venv ")]
    assert first.endswith(" && .venv/bin/rnabench quickstart")
    assert second.endswith("pip install -q -e '.[test]' && .venv/bin/pytest")


def test_the_summary_has_the_numbers_of_the_results() -> None:
    """All numbers of a row stand in one paragraph of results/README.md."""
    paragraphs = (ROOT / "results" / "README.md").read_text().partition("## What they say")[2].split("\n\n")
    _, *rows = README.partition("| claim | here |\n")[2].partition("\n\n")[0].splitlines()
    assert rows
    for row in rows:
        numbers = re.findall(r"-?\d+\.\d+", row)
        assert any(all(number in paragraph for number in numbers) for paragraph in paragraphs), row
