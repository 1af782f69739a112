"""Several processes that train one network: the same as one process does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from rnabench.runtime.ranks import ALONE
from tests.training.ranks_at_work import CASES, trained

Case = dict[str, Tensor]


def start_ranks(command: list[str], count: int, **environment: str) -> list[subprocess.Popen[str]]:
    """That many processes that find each other, as a launcher starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [subprocess.Popen([sys.executable, *command], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=os.environ | {"RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank),
                                               "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1",
                                               "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"} | environment)
            for rank in range(count)]


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Case]]:
    """What each of two ranks ends with."""
    file = tmp_path_factory.mktemp("ranks") / "trained"
    for process in start_ranks(["-m", "tests.training.ranks_at_work", str(file)], 2):
        assert process.communicate(timeout=300)[1] == ""
        assert process.returncode == 0
    return [torch.load(f"{file}.{rank}", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_train_as_one_process_does(by_two: list[dict[str, Case]], case: str) -> None:
    """Loss, weights, running statistics, momenta, and what is judged: to rounding, in float64."""
    alone = trained(CASES[case], ALONE)
    assert len(alone["losses"]) > 1
    for name, value in alone.items():
        assert torch.equal(by_two[0][case][name], by_two[1][case][name]), name
        torch.testing.assert_close(by_two[0][case][name], value, rtol=1e-5, atol=1e-7, check_dtype=False, msg=name)
