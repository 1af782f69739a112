"""Networks with activations and denoising blocks, from the command line: trained, described, attacked, exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rnabench import load_model
from rnabench.errors import CheckpointError
from tests.cli.test_cli import run
from tests.helpers import copied_run

CHOICE = "--activation", "relu+smoothrelu", "--denoise", "none+dot"
SMALL = ("--dataset", "digits16", "--arch", "resnet20", "--width", "2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts") / "run"
    assert run("train", *SMALL, *CHOICE, "--steps", "1", "--epochs", "1", "--batch-size", "16", "--n-train", "32",
               "--n-holdout", "16", "--device", "cpu", "--out", str(folder)) == 0
    return folder


def test_what_is_trained_is_loaded_and_attacked(trained: Path, tmp_path: Path) -> None:
    said = json.loads((trained / "run.json").read_text())["model"]
    assert (said["activation"], said["denoise"], "denoise_at" in said) == ("relu+smoothrelu", "none+dot", False)
    model = load_model(trained)
    assert str(model.space.count) == said["paths"] == str(2**21 * 2**19 * 2**3)
    assert run("attack", str(trained), "--attacks", "pgd1", "--n-examples", "4", "--draws", "2", "--no-sanity",
               "--device", "cpu", "--out", str(tmp_path)) == 0
    record = json.loads((tmp_path / "record.json").read_text())["model"]
    assert (record["activation"], record["denoise"], "denoise_at" in record) == ("relu+smoothrelu", "none+dot", False)


def test_other_parts_are_another_network(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"bn\+in, activation relu\+silu, denoise none\+dot: .*absent here"):
        load_model(copied_run(trained, tmp_path, activation="relu+silu"))


def test_one_path_of_it_is_exported_and_its_released_names_are_refused(
        trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = "01" * 21 + "1"
    assert run("export", str(trained), "--format", "torchscript", "--path", row, "--out", str(tmp_path / "one.pt")) == 0
    model, images = load_model(trained), torch.rand(3, 3, 16, 16)
    path = model.space.parse(row)
    torch.testing.assert_close(torch.jit.load(str(tmp_path / "one.pt"))(images), model.on(path)(images))
    assert run("export", str(trained), "--names", "released", "--out", str(tmp_path / "released.pth")) == 2
    assert "activation: 'relu+smoothrelu' is not valid; expected 'relu'" in capsys.readouterr().err


def test_describe_counts_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("describe", *SMALL, "--space", "bn", *CHOICE) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "space bn, activation relu+smoothrelu, denoise none+dot, 16x16 images" in text
    assert "stages.2.end2 none, dot 8 always bn" in text
    assert f"choice layers: 22, options per layer: 2, paths: {2**22:,} " in text


@pytest.mark.parametrize(("words", "line"), [
    (("--arch", "lenet5", "--denoise", "mean"), "denoise: 'mean' is not valid; expected 'none': lenet5 has no stages"),
    (("--arch", "vgg11", "--denoise", "mean", "--denoise-at", "blocks"), "denoise_at: 'blocks' is not valid; expected"),
    (("--activation", "relu+sillu"), "did you mean 'relu+silu'?"),
])
def test_what_a_network_cannot_have_is_told_before_images_are_read(
        words: tuple[str, ...], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert run("train", "--dataset", "cifar10", "--data-dir", str(tmp_path), *words, "--out", str(out)) == 2
    error = capsys.readouterr().err
    assert line in error
    assert len(error.strip().splitlines()) == 1
    assert not out.exists()
