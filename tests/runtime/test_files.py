"""Files are there whole or not at all, leave nothing behind for ever, and the umask says who may go on with them."""

from __future__ import annotations

import gc
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch

from rnabench.errors import RnabenchError
from rnabench.evaluation.kept_images import Collected
from rnabench.exchange.export import export_state, export_torchscript
from rnabench.model.saved import save_weights
from rnabench.report.figure import new_figure
from rnabench.report.figure import save as save_figure
from rnabench.runtime.files import HOST, atomic_folder, write_text
from rnabench.runtime.locks import claimed
from rnabench.training.state import State
from tests.exchange.test_commands import make_run

resource = pytest.importorskip("resource", reason="Windows has neither umask nor limits")

WRITE_AND_WAIT = """
import pathlib, sys, time
from rnabench.runtime import files
with files.{how}(pathlib.Path(sys.argv[1])) as temporary:
    (temporary / "part" if temporary.is_dir() else temporary).write_text("half")
    print("ready", flush=True)
    time.sleep(600)
"""


def test_permissions_are_those_that_the_umask_leaves(tmp_path: Path) -> None:
    for umask in (0o022, 0o002, 0o077):
        folder = tmp_path / oct(umask)
        before = os.umask(umask)
        try:
            write_text(folder / "table.csv", "a")
            save_weights({"a": torch.zeros(2)}, folder)
            State("digest").save(folder)
            save_figure(new_figure(1, 1)[0], folder / "figure")
            with atomic_folder(folder / "run") as temporary:
                (temporary / "run.json").touch()
            with claimed(folder / "cell", "it"):
                pass
        finally:
            os.umask(before)
        for place in (folder, *folder.rglob("*")):
            whole = 0o777 if place.is_dir() else 0o666
            assert stat.S_IMODE(place.stat().st_mode) == whole & ~umask, place
    plt.close("all")


@contextmanager
def writer(target: Path, how: str = "atomic") -> Iterator[subprocess.Popen[str]]:
    """A process that is writing `target`."""
    process = subprocess.Popen([sys.executable, "-c", WRITE_AND_WAIT.format(how=how), str(target)], text=True,
                               stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("how", ["atomic", "atomic_folder"])
def test_what_a_killed_process_leaves_goes_with_the_next_write(how: str, tmp_path: Path) -> None:
    with writer(tmp_path / "half", how) as process:
        (left,) = tmp_path.iterdir()
        write_text(tmp_path / "table.csv", "a")
        assert left.exists()  # its process lives
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert left.exists()
    write_text(tmp_path / "table.csv", "b")
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


def test_only_what_is_ours_and_of_nobody_that_lives_is_removed(tmp_path: Path) -> None:
    def named(host: str, process: int) -> Path:
        return tmp_path / f".rnabench-{host}-{process}-0123abcd.tmp"

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    elsewhere, old = named("other-machine", 1), named("other-machine", 2)
    stays = [elsewhere, named(HOST, os.getppid()), tmp_path / ".table.csv.template", tmp_path / ".rnabench-notes.tmp",
             tmp_path / "rnabench-a-1-0123abcd.tmp", tmp_path / ".rnabench-a-1-0123abcd.tmp.bak"]
    goes = [old, named(HOST, gone.pid), named(HOST, os.getpid())]
    for file in (*stays, *goes):
        file.touch()
    long_ago = time.time() - 25 * 3600
    os.utime(old, (long_ago, long_ago))
    write_text(tmp_path / "table.csv", "a")
    assert {*tmp_path.iterdir()} == {*stays, tmp_path / "table.csv"}


@contextmanager
def full_disk(most: int = 100) -> Iterator[None]:
    """The system refuses files of more than so many bytes, whoever writes them: Python or a library."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"), "bn")


def keep_images(folder: Path) -> None:
    collected = Collected()
    collected.rows = {number: (0, torch.zeros(3, 8, 8), torch.rand(3, 8, 8)) for number in range(4)}
    collected.write(folder / "file", range(4), (3, 8, 8))


WRITERS: dict[str, Callable[[Path, Path], object]] = {
    "torchscript": lambda folder, run: export_torchscript(run, None, 0, folder / "file"),
    "state_dict": lambda folder, run: export_state(run, False, folder / "file"),
    "weights": lambda folder, run: save_weights({"a": torch.zeros(999)}, folder),
    "state of a run": lambda folder, run: State("digest", model={"a": torch.zeros(999)}).save(folder),
    "images": lambda folder, run: keep_images(folder),
    "figure": lambda folder, run: save_figure(new_figure(1, 1)[0], folder / "file"),
    "text": lambda folder, run: write_text(folder / "file", "a" * 999),
}


@pytest.mark.parametrize("what", WRITERS)
def test_a_full_disk_is_one_line_and_nothing_is_left(what: str, run_folder: Path, tmp_path: Path) -> None:
    with full_disk(), pytest.raises(RnabenchError, match=str(tmp_path)) as caught:
        WRITERS[what](tmp_path, run_folder)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
    del caught
    gc.collect()  # which crashed some interpreters, where the error had kept a view of what was to be written


def test_a_text_may_name_a_folder_that_is_no_utf_8(tmp_path: Path) -> None:
    write_text(tmp_path / "text", os.fsdecode(b"odd\xff"))
    assert (tmp_path / "text").read_bytes() == b"odd\\udcff"
