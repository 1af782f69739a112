"""What reaches a screen, a pipe or a file: names as they are, and one line or silence where nothing can be written."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnabench
from rnabench.cli import main as command_line
from rnabench.cli.console import console, marked, show_table
from rnabench.cli.output_streams import CANNOT_WRITE, READER_GONE, Watched, visible, watched_output
from tests.cli.test_cli import run

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\t\v\f\x85\u2028\u2029"), max_size=20
                ) | st.sampled_from([
    "[/]x", "[red]x[/red]", "[link=http://x]y", r"\[b]", ":smile:", "\x1b[31mred", "a\u202eb", "[", "x]"])
FULL = Path("/dev/full")


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_everything_that_is_shown_goes_through_one_console() -> None:
    for file in Path(rnabench.__file__).parent.rglob("*.py"):
        found = re.search(r"^ *(from|import) rich\b", file.read_text(), re.MULTILINE)
        assert not found or file.name == "console.py", file


@given(NAMES)
@settings(max_examples=30, deadline=None)
def test_names_are_never_markup(name: str) -> None:
    out = io.StringIO()
    before, sys.stdout = sys.stdout, out
    try:
        console().print(f"<{name}>", soft_wrap=True)
        console().print(marked("PASS", "green", f"<{name}>"), soft_wrap=True)
        show_table(f"<{name}>", ["a", "b"], [[f"<{name}>", "1"]], text_columns=1, footer=f"<{name}>")
    finally:
        sys.stdout = before
    assert "\x1b" not in out.getvalue()
    assert visible(name) == name or "\\" in visible(name)
    assert out.getvalue().replace("\n", "").count(f"<{visible(name)}>") == 5 or " " in name  # a wide title is folded


def test_a_folder_of_any_name_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "[" / "]x [bold]:smile:\x1b[2J"
    folder.mkdir(parents=True)
    (folder / "table.csv").write_text(Path("results/quickstart/table.csv").read_text())
    assert run("check", str(folder), "--against", "results/quickstart", "--all") in (0, 1)
    said = "".join(shown(capsys).split())
    assert r"[/]x[bold]:smile:\x1b[2J" in said
    assert run("check", str(folder / "[/none]"), "--against", "results/quickstart") == 2


def started(redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = f'"$0" -m rnabench "$@" {redirection}'
    return subprocess.run(["bash", "-c", command, sys.executable, *arguments], capture_output=True, text=True,
                          timeout=60)


@pytest.mark.skipif(not FULL.exists(), reason="this system has no full device")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["attack", "--help"]])
def test_a_full_disk_is_told_in_one_line(arguments: list[str]) -> None:
    done = started("> /dev/full", *arguments)
    assert (done.returncode, done.stdout) == (CANNOT_WRITE, "")
    assert done.stderr == "error: standard output: cannot be written (No space left on device)\n"


@pytest.mark.skipif(not FULL.exists(), reason="this system has no full device")
def test_errors_keep_their_exit_code_where_they_cannot_be_told() -> None:
    done = started("2> /dev/full", "check", "/nowhere", "--against", "/nowhere")
    assert (done.returncode, done.stderr, done.stdout) == (2, "", "")


@pytest.mark.parametrize("closed", ["| true; exit ${PIPESTATUS[0]}", "2>&1 | true; exit ${PIPESTATUS[0]}"])
def test_a_reader_that_has_gone_ends_the_command_in_silence(closed: str) -> None:
    done = started(closed, "--help")
    assert (done.returncode, done.stdout, done.stderr) == (READER_GONE, "", "")


def test_streams_that_are_closed_from_the_start_are_no_error() -> None:
    done = started(">&- 2>&-", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_names_that_an_encoding_lacks_are_written_as_escapes() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Watched(stream, needed=True).write(f"{os.fsdecode(b'odd' + bytes([255]))} é\n")
    stream.flush()
    assert raw.getvalue() == b"odd\\udcff \\xe9\n"


class Gone(io.StringIO):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, os.strerror(self.number))


def test_a_closed_terminal_does_not_end_a_long_run(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    monkeypatch.setattr(sys, "stderr", Gone(5))
    with watched_output():
        print("how far it is", file=sys.stderr)
        done.append(1)
    assert done == [1]


def test_an_end_of_file_within_is_not_called_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise EOFError("of a file")

    monkeypatch.setitem(command_line.COMMANDS, "runs", broken)
    with pytest.raises(EOFError, match="of a file"):
        command_line.main(["runs"])
