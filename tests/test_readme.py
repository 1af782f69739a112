"""The README tells the truth: its screen is the committed result, its commands and its library example run."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from rnabench.cli.main import main
from rnabench.report.record_file import read_record, read_study
from rnabench.report.staleness import reasons
from rnabench.report.study import markdown
from rnabench.report.table import caption, display
from rnabench.settings.recipe_loading import load_recipe

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


def test_the_library_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    assert names["space"].count == 2**20  # type: ignore[attr-defined]


def test_the_recipe_of_ones_own_is_one(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(base: .*?)```", README, re.DOTALL)
    shutil.copy(ROOT / "recipes" / "paper.yaml", tmp_path)
    (tmp_path / "mine.yaml").write_text(example)
    for profile, width in (("paper", 128), ("cpu", 32), ("smoke", 16)):
        assert load_recipe(tmp_path / "mine.yaml", profile).models["RNA-wide"].width == width


@pytest.mark.parametrize("command", ["train", "attack", "conform", "reproduce", "check", "rescore", "describe", "bench",
                                     "crosscheck", "transfer-matrix", "path-difference", "smoothness",
                                     "gradient-similarity", "theory", "report", "card", "convert", "export", "runs",
                                     "dense", "push", "pull"])
def test_options_named_in_the_readme_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = capsys.readouterr().out
    for line in re.findall(rf"^rnabench {command} .*$", README, re.MULTILINE):
        for option in re.findall(r"--[a-z-]+", line):
            assert option in shown, line
