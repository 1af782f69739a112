"""torchvision's weights of a ResNet-50 as a run folder: the same logits, and nothing said that is about other files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import resnet50

from rnabench import load_model
from rnabench.errors import CheckpointError
from rnabench.exchange.released import read_released
from rnabench.model.runs import read_run
from tests.exchange.test_commands import run

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
OPTIONS = ("--arch", "resnet50", "--space", "bn", "--objective", "standard", "--dataset", "imagenet")


def test_a_converted_network_is_torchvisions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, file, out = resnet50().eval(), tmp_path / "file.pth", tmp_path / "run"
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            tensor.add_(0.1 * torch.rand(tensor.shape, generator=torch.Generator().manual_seed(len(name))))
    torch.save(network.state_dict(), file)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert run("convert", file, *OPTIONS, "--out", out) == 0
    shown = capsys.readouterr().out
    for said in ("1000 classes", "called by their numbers", "mean 0.485,0.456,0.406", "epoch chosen by: unknown\n"):
        assert said in shown
    with torch.no_grad():
        expected = network((images - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1))
        torch.testing.assert_close(load_model(out)(images), expected, rtol=1e-4, atol=1e-5)
    described = read_run(out)
    assert described["source"]["format"] == "weights under torchvision's names"
    assert described["recipe"]["dataset"] == "imagenet"
    assert run("convert", file, "--out", tmp_path / "other") == 2
    assert "did you mean --arch resnet50?" in capsys.readouterr().err


def test_both_kinds_of_files_hold_the_same(tmp_path: Path) -> None:
    state = {"conv1.weight": torch.rand(4, 3), "fc.bias": torch.rand(2)}
    torch.save(state, tmp_path / "file.pth")
    save_file(state, tmp_path / "file.safetensors")
    first, second = (read_released(tmp_path / f"file.{ending}") for ending in ("pth", "safetensors"))
    assert first.keys() == second.keys() == {"module.conv1.weight", "module.fc.bias"}
    assert all(torch.equal(first[name], second[name]) for name in first)
    (tmp_path / "file.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="cannot be read as tensors"):
        read_released(tmp_path / "file.safetensors")
