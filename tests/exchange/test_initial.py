"""Pretrained weights as the start of a training."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch

from rnabench import load_model
from rnabench.errors import CheckpointError, InvalidSettings, InvalidValue
from rnabench.exchange.initial import initial_file, initial_state
from rnabench.exchange.released import released_state
from rnabench.jobs.train import train
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.factory import build_model
from rnabench.model.runs import read_run
from rnabench.path.path import Path as ModelPath
from rnabench.runtime.files import sha256
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import StopRequest
from rnabench.settings.base import from_options
from rnabench.settings.training import TrainingSettings
from tests.training.test_training import recipe

NAME = "torchvision:ResNet50_Weights.IMAGENET1K_V1"


@pytest.fixture
def plain(tmp_path: Path) -> tuple[RandomizedClassifier, Path]:
    """A network of one normaliser in evaluation mode, and a file of its weights under released names."""
    model = build_model("resnet18", "bn", width=2, seed=7).eval()
    generator = torch.Generator().manual_seed(0)
    for name, value in model.state_dict().items():
        if value.is_floating_point() and name.startswith("network.1."):
            value.copy_(torch.rand(value.shape, generator=generator))
    torch.save(released_state(model, "resnet18"), tmp_path / "weights.pth")
    return model, tmp_path / "weights.pth"


@pytest.mark.parametrize("space", ["bn", "bn+in", "gn[2]+bn"])
def test_each_option_starts_as_the_place_did(plain: tuple[RandomizedClassifier, Path], space: str) -> None:
    """On the path of all batch normalisations the network is the file's; scales and shifts are, everywhere."""
    expected, file = plain
    model = build_model("resnet18", space, width=2).eval()
    state, source = initial_state(model, "resnet18", str(file))
    model.load_state_dict(model.state_dict() | state)
    assert source == {"from": "weights.pth", "sha256": sha256(file)}
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    place = space.split("+").index("bn")
    path = ModelPath(torch.full((1, len(model.space.layers)), place))
    with torch.no_grad():
        torch.testing.assert_close(model.on(path)(images), expected(images))
    if "+" in space:
        shift = "network.1.norm1.options.{}.bias"
        assert torch.equal(model.state_dict()[shift.format(0)], model.state_dict()[shift.format(1)])


def test_groups_start_with_the_statistics_of_their_channels(plain: tuple[RandomizedClassifier, Path]) -> None:
    """Of a map whose channels have those means and variances, the group has these."""
    before, file = plain
    model = build_model("resnet18", "bgn[2]", width=2)
    state, _ = initial_state(model, "resnet18", str(file))
    name = "network.1.stages.1.0.norm1.running_"
    mean, var = (before.state_dict()[name + part].view(-1, 2) for part in ("mean", "var"))
    torch.testing.assert_close(state[name + "mean"], mean.mean(1))
    torch.testing.assert_close(state[name + "var"], (var + mean.square()).mean(1) - mean.mean(1).square())


def test_a_training_starts_there_and_says_so(plain: tuple[RandomizedClassifier, Path], tmp_path: Path) -> None:
    """Its identity is the file's content, not its place; with hardly any learning the weights stay what they were."""
    model, file = plain
    moved = tmp_path / "elsewhere" / "other.pth"
    moved.parent.mkdir()
    shutil.copy(file, moved)
    first, second = (recipe(space="bn", init=str(each), lr=1e-12, epochs=1, weight_decay=0) for each in (file, moved))
    assert first.digest() == second.digest() != recipe(space="bn", lr=1e-12, epochs=1, weight_decay=0).digest()
    train(first, tmp_path / "run", Silent(), StopRequest(), "cpu")
    assert read_run(tmp_path / "run")["init"]["sha256"] == sha256(file)
    trained = load_model(tmp_path / "run").state_dict()["network.1.conv1.weight"]
    torch.testing.assert_close(trained, model.state_dict()["network.1.conv1.weight"])
    file.write_bytes(file.read_bytes() + b" ")
    assert first.digest() != second.digest()


def test_no_epoch_is_the_weights_as_they_are(plain: tuple[RandomizedClassifier, Path], tmp_path: Path) -> None:
    model, file = plain
    run = train(recipe(space="bn", init=str(file), epochs=0), tmp_path / "run", Silent(), StopRequest(), "cpu")
    assert run["status"] == "finished"
    kept = load_model(tmp_path / "run").state_dict()
    for name, value in model.state_dict().items():
        if name.startswith("network.1."):
            assert torch.equal(kept[name], value), name
    with pytest.raises(InvalidSettings, match=r"--epochs: 0 .*weights that are used as they are \(init\)"):
        recipe(space="bn", epochs=0)


def test_weights_that_do_not_fit_are_told(plain: tuple[RandomizedClassifier, Path], tmp_path: Path) -> None:
    _, file = plain
    for model, arch, expected in ((build_model("resnet18", "bn", 7, 2), "resnet18", "weights for 7 classes"),
                                  (build_model("resnet18", "bn", 10, 4), "resnet18", "of another shape or kind"),
                                  (build_model("vgg11", "bn", 10, 4), "vgg11", "arch: 'vgg11'")):
        with pytest.raises((InvalidValue, CheckpointError), match=expected):
            initial_state(model, arch, str(file))
    state = torch.load(file, weights_only=True)
    for changed, expected in ((dict(list(state.items())[1:]), "missing"), (state | {"module.more": torch.ones(1)},
                                                                          "not used"), ({}, "holds no state_dict")):
        torch.save(changed, tmp_path / "changed.pth")
        with pytest.raises(CheckpointError, match=f"^--init: .*{expected}"):
            initial_state(build_model("resnet18", "bn", width=2), "resnet18", str(tmp_path / "changed.pth"))


def huge(state: dict[str, torch.Tensor]) -> None:
    state["module.conv1.weight"] = torch.full_like(state["module.conv1.weight"], 1e300, dtype=torch.float64)


def negative(state: dict[str, torch.Tensor]) -> None:
    state["module.bn1.running_var"].fill_(-1)


def empty(state: dict[str, torch.Tensor]) -> None:
    for part in ("mean", "var"):
        state[f"module.bn1.running_{part}"] = torch.zeros(0)


@pytest.mark.parametrize("change", [huge, negative, empty])
def test_numbers_that_no_network_computes_with_are_told(change: Callable[[dict[str, torch.Tensor]], None],
                                                        plain: tuple[RandomizedClassifier, Path]) -> None:
    """Before a training that begins with them is blamed for it."""
    _, file = plain
    state = torch.load(file, weights_only=True)
    change(state)
    torch.save(state, file)
    with pytest.raises(CheckpointError, match="of another shape or kind"):
        initial_state(build_model("resnet18", "bn", width=2), "resnet18", str(file))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidValue, match="no file"):
        recipe(init=str(tmp_path / "pipe")).digest()


def test_names_and_files_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("torchvision:", "torchvision:resnet50", "", "a\0b"):
        with pytest.raises(InvalidSettings, match="--init"):
            from_options(TrainingSettings, {"init": wrong})
    with pytest.raises(InvalidValue, match="No such file"):
        recipe(init=str(tmp_path / "none.pth")).digest()
    with pytest.raises(InvalidValue, match=r"did you mean 'ResNet50_Weights\.IMAGENET1K_V[12]'"):
        initial_file("torchvision:ResNet50_Weights.IMAGENET1K_V")

    def no_network(*arguments: object, **keys: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(CheckpointError, match="not in torch's cache and cannot be downloaded"):
        initial_file(NAME)


def test_what_lies_in_the_cache_is_pinned_by_its_hash(plain: tuple[RandomizedClassifier, Path], tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    _, file = plain
    name = f"resnet-{sha256(file)[:8]}.pth"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torchvision.models.get_weight", lambda name_: SimpleNamespace(url=f"https://example.org/{name}"))
    cached = tmp_path / "hub" / "checkpoints" / name
    cached.parent.mkdir(parents=True)
    shutil.copy(file, cached)
    assert initial_file(NAME) == cached
    cached.write_bytes(b"something else")
    with pytest.raises(CheckpointError, match="damaged or another file"):
        initial_file(NAME)
