"""What CONTRIBUTING.md shows is what is run: its examples are the files of the package that the tests install."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.test_structure import ROOMS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "tests" / "other_package"
EXAMPLES = ["attack", "norm", "activation", "study", "dataset", "corruption", "defence", "trainable_defence",
            "logger"]
LONGEST = 40  # lines of an example


def block(language: str, containing: str) -> str:
    (found,) = [text for text in re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL) if containing in text]
    return str(found)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_a_short_file_that_is_run(name: str) -> None:
    text = (PACKAGE / "rnabench_example" / f"{name}.py").read_text(encoding="utf-8")
    assert block("python", text.splitlines()[0]) == text
    assert len(text.splitlines()) <= LONGEST


def test_the_entry_points_are_those_of_the_package() -> None:
    installed = (PACKAGE / "rnabench_example-1.0.dist-info" / "entry_points.txt").read_text(encoding="utf-8")
    groups = dict(re.findall(r"\[(rnabench\.\w+)\]\nexample = ([\w.]+)", installed))
    shown = re.findall(r'\[project\.entry-points\."(rnabench\.\w+)"\]\nexample = "([\w.]+)"', TEXT)
    assert dict(shown) == groups


def test_every_room_is_told_of_below_those_it_imports() -> None:
    lines = [set(re.findall(r"`(\w+)`", row)) for row in re.findall(r"^\| (`.*?`) \|", TEXT, re.MULTILINE)]
    above: set[str] = set()
    for line in lines:
        for room in line:
            assert ROOMS[room] <= above, room
        above |= line
    assert above == set(ROOMS)
