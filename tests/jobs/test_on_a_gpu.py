"""A command under the rules of CUDA, on a device that is simulated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from rnabench.cli.main import app
from rnabench.runtime import rate
from tests.simulated_gpu import simulated_gpu
from tests.simulated_tensors import Gpu

pytestmark = pytest.mark.slow
TRAIN = ("train --space bn+in --arch resnet20 --width 2 --n-train 96 --n-holdout 16 --epochs 2 --steps 1 "
         "--batch-size 32 --no-drop-last --select last")


@pytest.fixture(autouse=True)
def small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rate.SIDE, "cuda", 64)


def ran(command: str) -> Gpu:
    with simulated_gpu() as gpu:
        result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 0, result.output
    return gpu


def test_a_training_ends_with_the_weights_of_the_cpu(tmp_path: Path) -> None:
    """But for rounding, which turns signs of gradients that are next to nothing: where steps are recorded, all options
    are computed, and each image uses its own. 80 images are two whole batches an epoch and one that is not."""
    assert not CliRunner().invoke(app, [*TRAIN.split(), "--device", "cpu", "--out", f"{tmp_path}/cpu"]).exit_code
    for how in ("--no-capture", "--capture"):
        gpu = ran(f"{TRAIN} --device cuda {how} --out {tmp_path}/{how}")
        assert len(gpu.recordings) == (how == "--capture")
        weights = load_file(tmp_path / how / "model.safetensors")
        torch.testing.assert_close(weights, load_file(tmp_path / "cpu" / "model.safetensors"), rtol=0.02, atol=5e-3)
