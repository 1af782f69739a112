"""Memory that runs out: told in the words of any library, and a training that stays whole says so in one line.

Attacks and studies go on with half a batch: tests/evaluation/test_long_runs.py, tests/studies/test_whole_batch.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rnabench.data.batches import Batch
from rnabench.runtime.device import memory_ran_out
from rnabench.training.update import Update
from tests.cli.test_cli import TRAIN, run

WORDS = ("CUDA out of memory. Tried to allocate 2.00 GiB", "CUDA error: out of memory",
         "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
         "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
         "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
         "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
         "allocate 9 bytes.",
         "[enforce fail at alloc_cpu.cpp:118] data. DefaultCPUAllocator: not enough memory: you tried to allocate 9 "
         "bytes.")


def test_memory_that_ran_out_is_known_by_any_of_its_words() -> None:
    for words in WORDS:
        assert memory_ran_out(RuntimeError(words)), words
        assert not memory_ran_out(ValueError(words))
    assert memory_ran_out(torch.OutOfMemoryError())
    for words in ("CUDA error: an illegal memory access was encountered", "mat1 and mat2 shapes cannot be multiplied",
                  "CUDNN_STATUS_EXECUTION_FAILED", "Trying to backward through the graph a second time"):
        assert not memory_ran_out(RuntimeError(words)), words


def test_what_the_cpu_says_is_among_them() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    assert memory_ran_out(caught.value)


def test_a_training_keeps_what_it_has_and_asks_for_smaller_batches(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Update.__call__

    def in_the_second_epoch(self: Update, batch: Batch, epoch: int, step: int, rate: float) -> object:
        if epoch == 1:
            raise RuntimeError(WORDS[1])
        return whole(self, batch, epoch, step, rate)

    monkeypatch.setattr(Update, "__call__", in_the_second_epoch)
    two = [*TRAIN, "--epochs", "2", "--out", str(tmp_path / "run")]
    assert run(*two) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "--batch-size: 32 is not valid; expected a smaller one: memory ran out" in line
    assert (tmp_path / "run" / "state.pt").exists()
    monkeypatch.undo()
    assert run(*two) == 0  # goes on, as if on a larger device
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"
