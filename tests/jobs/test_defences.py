"""Reference defences from the command line: trained, described, attacked under the protocols, exported, refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rnabench import load_model
from rnabench.errors import CheckpointError, InvalidValue
from rnabench.jobs.train import train
from rnabench.model.recorded import recorded_passes
from rnabench.model.saved import describe_model, save_weights
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import StopRequest
from rnabench.seeding import stream
from rnabench.settings.base import from_options
from rnabench.settings.training import TrainingSettings
from tests.cli.test_cli import run
from tests.helpers import copied_run
from tests.model.test_defences import ALL, built

SMALL = {"dataset": "digits16", "arch": "resnet20", "width": 2, "steps": 1, "epochs": 1, "batch_size": 16,
         "n_train": 16, "n_holdout": 2, "space": "bn"}


def trained(folder: Path, defence: str, **more: object) -> Path:
    train(from_options(TrainingSettings, {**SMALL, "defence": defence, **more}), folder, Silent(), StopRequest(), "cpu")
    return folder


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("noisy") / "run", "rse", space="bn+in", granularity="sample")


def test_what_is_trained_is_loaded_and_attacked(noisy: Path, tmp_path: Path) -> None:
    said = json.loads((noisy / "run.json").read_text())["model"]
    model = load_model(noisy)
    assert said["defence"] == "rse"
    assert said["paths"] == str(model.space.count) == str(2**21 * 2**(31 * 21))
    assert run("attack", str(noisy), "--attacks", "pgd1", "--protocols", "paper,same-path,eot:2", "--n-examples", "4",
               "--draws", "3", "--no-sanity", "--device", "cpu", "--out", str(tmp_path)) == 0
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["model"]["defence"] == "rse"
    assert {result["protocol"] for result in record["results"]} == {"any", "paper", "same-path", "eot:2"}


@pytest.mark.parametrize("defence", ["jpeg", "ensemble2"])
def test_a_choice_of_inputs_or_networks_is_trained_and_attacked(defence: str, tmp_path: Path) -> None:
    folder = trained(tmp_path / "run", defence, arch="lenet5", space="none")
    assert run("attack", str(folder), "--attacks", "pgd1", "--protocols", "paper,eot:2", "--n-examples", "4", "--draws",
               "2", "--no-sanity", "--device", "cpu", "--out", str(tmp_path / "out")) == 0
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert (record["model"]["defence"], record["model"]["randomised"]) == (defence, True)


def test_another_defence_is_another_network(noisy: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"resnet20 with space bn\+in, defence rpf: "):
        load_model(copied_run(noisy, tmp_path, defence="rpf"))


def test_a_path_is_exported_and_recorded_passes_are_those_that_run(noisy: Path, tmp_path: Path) -> None:
    model, images = load_model(noisy), torch.rand(3, 3, 16, 16)
    path = model.space.sample(stream(0, "path"))
    file = tmp_path / "one.pt"
    assert run("export", str(noisy), "--format", "torchscript", "--path", str(path), "--out", str(file)) == 0
    logits = model.on(path)(images)
    torch.testing.assert_close(torch.jit.load(str(file))(images), logits)
    rows = model.space.sample(stream(0, "rows"), 3)
    each = model.on(rows)(images)
    with recorded_passes(model):
        torch.testing.assert_close(model.on(path)(images), logits)
        torch.testing.assert_close(model.on(rows)(images), each)


@pytest.mark.parametrize("defence", ALL)
def test_of_every_defence_a_path_is_exported_for_any_number_of_images_or_refused(defence: str, tmp_path: Path) -> None:
    model = built(defence, space="bn+in")
    settings = from_options(TrainingSettings, SMALL | {"space": "bn+in", "defence": defence, "width": 4})
    numbers = list(map(str, range(10)))
    (tmp_path / "run.json").write_text(json.dumps({
        "recipe": {"dataset": "digits16"}, "model": describe_model(model, settings, numbers, (0.5,) * 3, (0.25,) * 3)}))
    save_weights(model.state_dict(), tmp_path)
    path, file = model.space.sample(stream(0, "path")), tmp_path / "one.pt"
    options = ["export", str(tmp_path), "--format", "torchscript", "--path", str(path), "--out", str(file)]
    if defence == "jpeg":
        assert run(*options) == 2
        assert not file.exists()
        return
    assert run(*options) == 0
    exported, loaded = torch.jit.load(str(file)), load_model(tmp_path)
    for images in (torch.rand(1, 3, 16, 16), torch.rand(3, 3, 16, 16)):
        torch.testing.assert_close(exported(images), loaded.on(path)(images))


def test_describe_counts_paths_that_nobody_reads(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("describe", "--arch", "resnet20", "--space", "bn", "--defence", "rse") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "defence rse" in text
    assert "paths: about 10^195 (one draw per layer)" in text
    assert run("describe", "--arch", "lenet5", "--defence", "ensemble2") == 0
    assert "first, member2" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["capture", "compile"])
def test_what_works_image_by_image_is_neither_recorded_nor_compiled(how: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=rf"--{how}: True is not valid; expected false: .*defence jpeg"):
        trained(tmp_path / "run", "jpeg", **{how: True})
    assert not (tmp_path / "run").exists()
