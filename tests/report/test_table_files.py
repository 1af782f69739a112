"""Tables as files: no name is a formula, ends a cell, or is a page's own text; and what is read is what was written."""

from __future__ import annotations

import csv
import io
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import rnabench
from rnabench.report.accuracies import read_accuracies
from rnabench.report.table import write_tables
from rnabench.report.table_files import csv_text, markdown_table, read_csv, write_markdown
from tests.report.records import model

SIGNS = "=+-@\t\r\n'\"|<>[]()\\, a1" + "\uff1d\uff0b\uff0d\uff20"
NAMES = st.text(SIGNS, max_size=8) | st.sampled_from(["=cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "+1", "-0.5", "-",
                                                     "'=x"])


def test_no_other_file_writes_tables() -> None:
    """LaTeX aside, of which tabulate takes care."""
    for file in Path(rnabench.__file__).parent.rglob("*.py"):
        if file.name not in ("table_files.py", "comparison.py"):
            assert not re.search(r"to_csv|to_markdown|tabulate\(", file.read_text()), file


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=4))
def test_what_is_read_back_is_what_was_written_and_none_of_it_is_a_formula(rows: list[tuple[str, str]]) -> None:
    text = csv_text([{"name": name, "=other": other, "number": -1.5} for name, other in rows])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table.csv"
        file.write_bytes(text.encode())
        assert read_csv(file) == [["name", "=other", "number"], *([*row, "-1.5"] for row in rows)]
    for line in csv.reader(io.StringIO(text, newline="")):
        for cell in line:
            if cell[:1] and cell[0] in "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20":
                assert cell == "-" or float(cell) is not None


def test_a_table_without_such_names_is_written_as_ever() -> None:
    rows = [{"model": "bn+in", "accuracy": 0.5, "worst": "-", "paper": "- (paper 12.30)"}]
    assert csv_text(rows) == "model,accuracy,worst,paper\nbn+in,0.5,-,- (paper 12.30)\n"


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_a_name_stays_in_its_cell(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table.md"
        write_markdown(file, markdown_table([(name, "1.0") for name in names], ("name|", "number"), 1))
        tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(file.read_text())
    cells = [token for token in tokens if token.type == "inline"]
    assert len(cells) == 2 * (len(names) + 1)
    kinds = {child.type for cell in cells for child in cell.children or ()}
    assert not kinds & {"html_inline", "link_open", "image"}
    assert not any(token.type == "html_block" for token in tokens)
    assert [cell.content for cell in cells[3::2]] == ["1.0"] * len(names)


def test_html_in_a_title_is_text(tmp_path: Path) -> None:
    write_markdown(tmp_path / "a.md", "# <script>x</script> at p < 0.05\n")
    assert (tmp_path / "a.md").read_text() == "# &lt;script>x&lt;/script> at p < 0.05\n"


@pytest.mark.parametrize("label", ["=cmd|x", "'=cmd", "-", "@a|b", "NA", "+1"])
def test_a_network_of_any_name_is_found_again_in_its_table(label: str, tmp_path: Path) -> None:
    record = model(label, 0.5, 0)
    write_tables([record], tmp_path, "Title")
    assert {key[0] for key in read_accuracies(tmp_path / "table.csv", "results").cells} == {label}
