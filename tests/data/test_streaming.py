"""Images read by worker processes, which whoever stops a run signals as well."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rnabench.data import streaming
from rnabench.data.batches import Batch
from rnabench.data.streaming import ImageFiles, StreamingSource
from rnabench.runtime.ranks import Ranks
from tests.data.test_data import write_folder

READ = """
import multiprocessing, pathlib, sys, time
import torch
from rnabench.data import streaming
from rnabench.data.streaming import ImageFiles, StreamingSource
from rnabench.runtime.stopping import StopRequest

begin = streaming._leave_signals_to_the_parent
streaming._leave_signals_to_the_parent = lambda worker: (time.sleep(worker), begin(worker))

with StopRequest() as stop:
    files = ImageFiles.of(pathlib.Path(sys.argv[1]), "train", size=16)
    source = StreamingSource(files, torch.device("cpu"), workers=2)
    batches = source.in_order(2)
    next(batches)
    print("ready", flush=True)
    while not stop:
        time.sleep(0.01)
    time.sleep(0.3)
    print(1 + len(list(batches)))
    batches = source.in_order(2)
    next(batches)
    worker = multiprocessing.active_children()[0]
    worker.terminate()
    worker.join(30)
    assert not worker.is_alive()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody tells who sent a signal")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_to_all_processes_leaves_the_parent_its_workers(name: str, tmp_path: Path) -> None:
    """It may still need images to reach a place where it can stop; what it ends itself, ends. The second worker is not
    ready when the signal comes."""
    folder = write_folder(tmp_path, per_class=8, size=20)
    process = subprocess.Popen([sys.executable, "-c", READ, str(folder)], stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.Signals[name])
    said, problems = process.communicate(timeout=120)
    assert said == "12\n", problems


CPU = torch.device("cpu")


@pytest.fixture
def files(tmp_path: Path) -> ImageFiles:
    return ImageFiles.of(write_folder(tmp_path, per_class=5, size=20), "train", size=16)


def same(one: list[Batch], other: list[Batch]) -> bool:
    return [batch.indices for batch in one] == [batch.indices for batch in other] and all(
        torch.equal(first.images, second.images) and torch.equal(first.labels, second.labels)
        for first, second in zip(one, other, strict=True))


@pytest.mark.parametrize("kept", [0, 7, 1000])
def test_what_is_read_in_order_is_decoded_once(files: ImageFiles, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    """As many images as may be kept: the first ones; the others again in every reading."""
    decoded: list[Path] = []
    opened = streaming.opened_image

    def counted(file: Path) -> object:
        decoded.append(file)
        return opened(file)

    monkeypatch.setattr(streaming, "opened_image", counted)
    monkeypatch.setattr(streaming, "KEPT_BYTES", kept * 3 * 16**2)
    source = StreamingSource(files, CPU, workers=0)
    first = list(source.in_order(4))
    assert len(decoded) == len(files)
    assert same(list(source.in_order(4)), first)
    assert same(list(source.in_order(4, start=2)), first[2:])
    again = max(0, len(files) - kept)
    assert len(decoded) == len(files) + again + max(0, min(again, len(files) - 8))


@pytest.mark.parametrize("workers", [0, 2])
def test_readings_do_not_disturb_one_another(files: ImageFiles, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    """One that is given up, one within another; and workers stay."""
    monkeypatch.setattr(streaming, "KEPT_BYTES", 0)
    source = StreamingSource(files, CPU, augment=True, workers=workers)
    alone = StreamingSource(files, CPU, augment=True, workers=0)
    next(source.in_order(2))
    workers_before = {process.pid for process in multiprocessing.active_children()}
    expected, outer = list(alone.shuffled(3, 0, 1)), []
    for number, batch in enumerate(source.shuffled(3, 0, 1)):
        outer.append(batch)
        if number == 1:
            assert same(list(source.in_order(4)), list(alone.in_order(4)))
    assert same(outer, expected)
    assert workers_before <= {process.pid for process in multiprocessing.active_children()}


def test_workers_end_with_their_source(files: ImageFiles) -> None:
    """At once, and with no help of the garbage collector, which would make whoever meets it wait for each of them."""
    before = set(multiprocessing.active_children())
    source = StreamingSource(files, CPU, workers=2)
    next(source.in_order(2))
    workers = set(multiprocessing.active_children()) - before
    assert len(workers) == 2
    gc.disable()
    try:
        del source
        assert not workers & set(multiprocessing.active_children())
    finally:
        gc.enable()


def test_ranks_have_parts_of_the_same_batches(files: ImageFiles) -> None:
    whole = list(StreamingSource(files, CPU, augment=True, workers=0).shuffled(4, 0, 0, drop_last=False))
    parts = [list(StreamingSource(files, CPU, augment=True, workers=0, ranks=Ranks(rank, 2)).shuffled(
        4, 0, 0, drop_last=False)) for rank in range(2)]
    for number, batch in enumerate(whole):
        first, second = parts[0][number], parts[1][number]
        assert first.size == second.size == batch.size
        assert first.indices + second.indices == batch.indices
        assert torch.equal(torch.cat([first.images, second.images]), batch.images)


def test_ranks_of_a_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(24)), raising=False)
    assert streaming.usual_workers() == streaming.MOST_WORKERS
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4",
                        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert streaming.usual_workers() == 24 // 4
