"""Images read by worker processes, which whoever stops a run signals as well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.test_data import write_folder

READ = """
import multiprocessing, pathlib, sys, time
import torch
from rnabench.data.streaming import ImageFiles, StreamingSource
from rnabench.runtime.stopping import StopRequest

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


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody tells who sent a signal")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_to_all_processes_leaves_the_parent_its_workers(name: str, tmp_path: Path) -> None:
    """It may still need images to reach a place where it can stop; what it ends itself, ends."""
    folder = write_folder(tmp_path, per_class=8, size=20)
    process = subprocess.Popen([sys.executable, "-c", READ, str(folder)], stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.Signals[name])
    said, problems = process.communicate(timeout=120)
    assert said == "12\n", problems
