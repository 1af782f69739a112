"""What CONTRIBUTING.md says of the rooms is what tests/test_structure.py holds."""

from __future__ import annotations

import re
from pathlib import Path

from tests.test_structure import ROOMS

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_every_room_is_told_of_below_those_it_imports() -> None:
    lines = [set(re.findall(r"`(\w+)`", row)) for row in re.findall(r"^\| (`.*?`) \|", TEXT, re.MULTILINE)]
    above: set[str] = set()
    for line in lines:
        for room in line:
            assert ROOMS[room] <= above, room
        above |= line
    assert above == set(ROOMS)
