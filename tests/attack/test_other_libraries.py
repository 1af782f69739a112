"""foolbox, ART, torchattacks and RobustBench run on our networks unchanged, and agree with us where they do the same.

What is called is docs/libraries.py, the example that people read. A library that is not installed is skipped.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path as File
from typing import Any

import pyautoattack
import pyautoattack.state
import pytest
import torch
from torch import Tensor, nn

from rnabench.attack.attack import Attack, ready
from rnabench.attack.autoattack import AutoAttack
from rnabench.attack.estimators import OnePath
from rnabench.attack.libraries import guarded
from rnabench.attack.threat import Linf
from rnabench.data.sources import evaluation_data
from rnabench.model.classifier import RandomizedClassifier
from rnabench.path.path import Path
from rnabench.scoring.interval import difference_interval
from rnabench.seeding import ExampleStreams
from rnabench.settings.attacks import parse_attack
from rnabench.settings.datasets import DataSettings
from tests.helpers import trained_digits

FILE = File(__file__).parents[2] / "docs" / "libraries.py"
EPS, IMAGES = 16 / 255, 100
PACKAGES = {"foolbox": "foolbox", "ART": "art.attacks.evasion", "torchattacks": "torchattacks"}


def example() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("libraries_example", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def network() -> RandomizedClassifier:
    return trained_digits()


@pytest.fixture(scope="module")
def batch() -> tuple[Tensor, Tensor]:
    source = evaluation_data(DataSettings(), IMAGES, torch.device("cpu")).source
    found = next(source.in_order(IMAGES))
    return found.images, found.labels


@pytest.fixture(scope="module")
def path(network: RandomizedClassifier) -> Path:
    return network.space.sample(torch.Generator().manual_seed(1))


@pytest.fixture(params=PACKAGES)
def attacked(request: pytest.FixtureRequest) -> Callable[..., Tensor]:
    """PGD of one of the libraries."""
    pytest.importorskip(PACKAGES[request.param])
    made: Callable[..., Tensor] = example().LIBRARIES[request.param]
    return made


def ours(name: str, network: RandomizedClassifier, path: Path, images: Tensor, labels: Tensor) -> Tensor:
    attack, threat = ready(parse_attack(name), "Linf", EPS, EPS / 4)
    assert isinstance(attack, Attack)
    streams = ExampleStreams(0, "start", indices=range(len(images)))
    return attack.run(OnePath(network, path), images, labels, streams.uniform, threat)


def right(module: nn.Module, images: Tensor, labels: Tensor) -> Any:
    """[N, 1]: which images are classified correctly."""
    with torch.no_grad():
        return (module(images).argmax(1) == labels).numpy()[:, None]


@pytest.mark.parametrize(("name", "step", "steps"), [("fgsm", EPS, 1), ("bim5", EPS / 4, 5)])
def test_the_same_formula_gives_the_same_images(
        name: str, step: float, steps: int, attacked: Callable[..., Tensor], network: RandomizedClassifier, path: Path,
        batch: tuple[Tensor, Tensor]) -> None:
    images, labels = batch
    mine = ours(name, network, path, images, labels)
    their = attacked(network.on(path), images, labels, eps=EPS, step=step, steps=steps, start=False)
    # rounding decides the sign of a gradient that is all but zero
    assert float(((their - mine).abs() < 1e-5).float().mean()) > 0.99
    assert float((mine - images).abs().mean()) > EPS / 4
    assert (right(network.on(path), their, labels) == right(network.on(path), mine, labels)).mean() >= 0.99


def test_from_random_starts_they_agree_within_the_interval(
        attacked: Callable[..., Tensor], network: RandomizedClassifier, path: Path, batch: tuple[Tensor, Tensor]
) -> None:
    images, labels = batch
    view = network.on(path)
    with guarded(0):  # starts are drawn from global generators
        their = attacked(view, images, labels, eps=EPS, step=EPS / 4, steps=10)
    mine = ours("pgd10", network, path, images, labels)
    gap, low, high = difference_interval(right(view, their, labels), right(view, mine, labels))
    assert low <= 0 <= high
    assert abs(gap) < 0.05
    assert right(view, their, labels).mean() < right(view, images, labels).mean() - 0.2  # it is an attack


@pytest.mark.parametrize("drawn", [True, False], ids=["a path in every forward", "one path"])
def test_they_run_unchanged_and_leave_no_path_and_no_mode(
        drawn: bool, attacked: Callable[..., Tensor], network: RandomizedClassifier, path: Path,
        batch: tuple[Tensor, Tensor]) -> None:
    images, labels = batch[0][:20], batch[1][:20]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    generator = network.generator.get_state()
    found = attacked(network if drawn else network.on(path), images, labels, eps=EPS, step=EPS / 4, steps=5)
    assert float((found - images).abs().max()) <= EPS + 1e-6
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert float(((found - images).abs() > EPS / 8).float().mean()) > 0.5  # gradients reach the images
    assert right(network.on(path), found, labels).mean() < right(network.on(path), images, labels).mean()
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(network.generator.get_state(), generator) is not drawn
    with torch.no_grad():  # no path stays set: it draws again
        assert len({tuple(network(images).flatten().tolist()) for _ in range(6)}) > 1


class OldName(pyautoattack.AutoAttack):  # type: ignore[misc]
    """AutoAttack as RobustBench calls it; the package on PyPI has other names for the same."""

    def __init__(self, model: nn.Module, norm: str = "Linf", eps: float = 0.3, version: str = "standard",
                 device: object = "cpu", log_path: object = None) -> None:
        super().__init__(model, norm=norm, eps=eps, version=version, device=device, seed=7)

    def run_standard_evaluation(self, x_orig: Tensor, y_orig: Tensor, bs: int = 250, state_path: object = None) -> Any:
        return super().run_standard_evaluation(x_orig, y_orig, batch_size=bs, state_path=state_path)[0]


def shorten_original(monkeypatch: pytest.MonkeyPatch) -> None:
    from autoattack import AutoAttack as Original

    whole = Original.set_version

    def shortened(self: Any, version: str = "standard") -> None:
        whole(self, version)
        self.apgd.n_iter, self.apgd_targeted.n_iter, self.fab.n_iter, self.square.n_queries = 6, 4, 3, 30

    monkeypatch.setattr(Original, "set_version", shortened)


@pytest.fixture
def robustbench(batch: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """RobustBench's benchmark, on digits in the place of CIFAR-10, which would be downloaded."""
    pytest.importorskip("timm")  # without it, what is there of RobustBench is not whole
    if importlib.util.find_spec("autoattack") is None:
        module = types.ModuleType("autoattack")
        module.AutoAttack = OldName  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "autoattack", module)
        monkeypatch.setitem(sys.modules, "autoattack.state", pyautoattack.state)
    else:
        shorten_original(monkeypatch)  # as short as `short_autoattack` makes the other
    found: types.ModuleType = pytest.importorskip("robustbench.eval")
    monkeypatch.setattr(found, "load_clean_dataset", lambda dataset, count, folder, prepare: (
        batch[0][:count].contiguous(), batch[1][:count]))
    return found


@pytest.mark.parametrize("drawn", [False, True], ids=["one path", "a path in every forward"])
def test_robustbench_agrees_with_our_autoattack(
        drawn: bool, robustbench: types.ModuleType, short_autoattack: None, network: RandomizedClassifier, path: Path,
        batch: tuple[Tensor, Tensor]) -> None:
    count, view = 24, network.on(path)
    images, labels = batch[0][:count], batch[1][:count]
    with guarded(0):
        clean, robust = example().by_robustbench(network if drawn else view, count, eps=EPS)
    assert not any(module.training for module in network.modules())
    natural = right(view, images, labels)
    if drawn:
        assert 0 <= robust < clean <= 1
        return
    assert clean == pytest.approx(natural.mean())
    found = right(view, AutoAttack().call(view, images, labels, Linf(EPS), 10, 7), labels)
    assert abs(robust - found.mean()) <= 2 / count  # the random starts of few steps
    assert robust < clean


def test_the_example_runs(tmp_path: File, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.cli.test_cli import TRAIN, run

    assert run(*TRAIN, "--out", str(tmp_path / "run")) == 0
    capsys.readouterr()
    shown = example()
    shown.STEPS, shown.IMAGES = 2, 10
    shown.main([str(tmp_path / "run")])
    lines = capsys.readouterr().out.splitlines()
    assert sum("natural" in line for line in lines) == 2
    assert sum("torchattacks, PGD" in line for line in lines) == 2
    with pytest.raises(SystemExit):
        shown.main([])
