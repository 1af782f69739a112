"""A journal has every batch whose line was finished, whoever was killed, and whatever else lies in its folder."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnabench.errors import Busy
from rnabench.runtime.journal import Journal

APPEND = """
import pathlib, sys, time
from rnabench.runtime.journal import Journal
journal = Journal(pathlib.Path(sys.argv[1]), "digest")
with journal.claimed((sys.argv[2],)):
    for number in range(1000000):
        journal.append((sys.argv[2],), {"number": number, "padding": "x" * 2000})
        if number == 3:
            print("several are kept", flush=True)
"""


def numbers(journal: Journal, *key: str) -> list[int]:
    return [batch["number"] for batch in journal.batches(key)]


def append(folder: Path, key: tuple[str, ...], *values: int, digest: str = "digest") -> Journal:
    journal = Journal(folder, digest)
    for value in values:
        journal.append(key, {"number": value})
    return journal


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_half_written_line_does_not_count_and_is_written_again(kept: int, tmp_path: Path) -> None:
    append(tmp_path / "j", ("a",), 0, 1, 2)
    (file,) = (tmp_path / "j").iterdir()
    lines = file.read_text().splitlines(keepends=True)
    for end in range(1, len(lines[1 + kept])):
        file.write_text("".join(lines[: 1 + kept]) + lines[1 + kept][:end].rstrip("}\n"))
        assert numbers(Journal(tmp_path / "j", "digest"), "a") == list(range(kept))
    append(tmp_path / "j", ("a",), *range(kept, 5))
    assert numbers(Journal(tmp_path / "j", "digest"), "a") == [0, 1, 2, 3, 4]


def test_what_another_run_left_is_begun_anew(tmp_path: Path) -> None:
    append(tmp_path / "j", ("a",), 0, 1, digest="other")
    assert numbers(Journal(tmp_path / "j", "digest"), "a") == []
    assert numbers(append(tmp_path / "j", ("a",), 7), "a") == [7]


def test_pieces_are_kept_apart_also_where_their_files_are_not(tmp_path: Path) -> None:
    """Names of files lack some characters, and may not be as long as keys are."""
    long = "x" * 300
    for keys in ((("a b",), ("a/b",)), ((long, "1"), (long, "2"))):
        for place, key in enumerate(keys):
            append(tmp_path / "j", key, place)
        journal = Journal(tmp_path / "j", "digest")
        assert [numbers(journal, *key) for key in keys] == [[0], [1]]
    assert len(journal.batches()) == 4


def test_in_memory_it_is_the_same(tmp_path: Path) -> None:
    for journal in (Journal(None, "digest"), Journal(tmp_path / "j", "digest")):
        assert journal.batches() == journal.makers() == []
        with journal.claimed(("a",)):
            journal.append(("a",), {"number": 1})
        journal.append(("b",), {"number": 2})
        assert (numbers(journal, "a"), numbers(journal, "b"), len(journal.batches())) == ([1], [2], 2)
        assert journal.makers() == journal.makers(("a",)) != []


@pytest.mark.skipif(sys.platform == "win32", reason="signals to other processes")
def test_a_killed_process_leaves_its_batches_and_frees_its_piece(tmp_path: Path) -> None:
    """While others work on other pieces of the same run."""
    folder = tmp_path / "j"
    other = subprocess.Popen([sys.executable, "-c", APPEND, str(folder), "a"], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "several are kept\n"
    journal = Journal(folder, "digest")
    assert not journal.is_free(("a",))
    with pytest.raises(Busy, match="a: another process"), journal.claimed(("a",)):
        pass
    with journal.claimed(("b",)):
        journal.append(("b",), {"number": 0})
    other.send_signal(signal.SIGKILL)
    other.communicate()
    assert journal.is_free(("a",))
    with journal.claimed(("a",)):
        count = len(numbers(journal, "a"))
        journal.append(("a",), {"number": count})
    assert count >= 4
    assert numbers(Journal(folder, "digest"), "a") == list(range(count + 1))
    assert numbers(journal, "b") == [0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=8))
def test_whatever_lines_are_doubled_lost_or_moved_every_batch_counts_once(
        tmp_path_factory: pytest.TempPathFactory, order: list[int]) -> None:
    """What is taken over are the first batches, in order; it is said unless that is just what a kill leaves."""
    folder = tmp_path_factory.mktemp("j") / "j"
    append(folder, ("a",), *range(5))
    (file,) = folder.iterdir()
    head, *lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([head, *(lines[place] for place in order)]))
    said: list[str] = []
    kept = numbers(Journal(folder, "digest", tell=said.append), "a")
    assert kept == [place for number, place in enumerate(order) if order[: number + 1] == list(range(number + 1))]
    assert len(said) == (len(kept) < len(order))
    assert numbers(append(folder, ("a",), *range(len(kept), 5)), "a") == list(range(5))


@pytest.mark.parametrize(("old", "new"), [
    ('"number": 1', '"number": 7'), ('"number": 1,', '"number": 1, "more": 2,'), ('"line": 1', '"line": 0'),
    ('"cell": ["a"]', '"cell": ["b"]'), ('"number": 1', '"number": NaN'), ('{"cell"', '[{"cell"'),
    ("{", "[" * 5000 + "{"),
])
def test_a_line_that_was_changed_ends_what_is_taken_over_and_it_is_said_once(old: str, new: str, tmp_path: Path
                                                                          ) -> None:
    append(tmp_path / "j", ("a",), 0, 1, 2)
    (file,) = (tmp_path / "j").iterdir()
    lines = file.read_text().splitlines(keepends=True)
    lines[2] = lines[2].replace(old, new, 1)
    file.write_text("".join(lines))
    said: list[str] = []
    journal = Journal(tmp_path / "j", "digest", tell=said.append)
    assert [numbers(journal, "a") for _ in range(2)] == [[0], [0]]
    (line,) = said
    assert line.startswith("begun anew from batch 2 on: ")
    assert str(file) in line
