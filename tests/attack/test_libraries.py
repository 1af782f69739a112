"""Attack libraries agree with the package where they do the same, and leave nothing behind where they would."""

from __future__ import annotations

import random
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path as File
from types import FrameType
from typing import Any

import numpy as np
import pyautoattack
import pytest
import torch
from torch import Tensor, nn

import rnabench
from rnabench.attack.autoattack import autoattack, version
from rnabench.attack.build import build
from rnabench.attack.catalogue import parse_attack, resolved
from rnabench.attack.estimators import OnePath, frozen_parameters
from rnabench.attack.library import Resampled, View, frozen_view, guarded
from rnabench.attack.torchattacks import torchattacks_attack
from rnabench.errors import InvalidValue
from rnabench.model.classifier import RandomizedClassifier
from rnabench.norm.layers import frozen_statistics
from rnabench.path.path import Path
from rnabench.seeding import stream
from tests.helpers import lively_model

CPU = torch.device("cpu")
IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1)).to(memory_format=torch.channels_last)


def model_and_path(space: str) -> tuple[RandomizedClassifier, Path]:
    model = lively_model(space)
    return model, model.space.sample(torch.Generator().manual_seed(2))


def values_of(name: str, eps: float = 8 / 255, step_size: float = 2 / 255) -> dict[str, Any]:
    return resolved(parse_attack(name), eps, step_size)


def silence(*shape: int) -> Tensor:
    raise AssertionError("this attack needs no random numbers")


@pytest.fixture
def short_autoattack(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library with few steps, whoever calls it."""
    whole = pyautoattack.AutoAttack._set_version

    def shortened(self: Any, *arguments: Any, **keywords: Any) -> None:
        whole(self, *arguments, **keywords)
        self.apgd.n_iter, self.apgd_targeted.n_iter, self.fab.n_iter, self.square.n_queries = 6, 4, 3, 30

    monkeypatch.setattr(pyautoattack.AutoAttack, "_set_version", shortened)


BOTH = pytest.mark.parametrize("space", ["bn", "bn+in"])


@BOTH
@pytest.mark.parametrize("name", ["fgsm", "bim5", "mifgsm"])
def test_the_same_formula_gives_the_same_images(space: str, name: str) -> None:
    model, path = model_and_path(space)
    estimator = OnePath(model, path)
    labels, values = estimator.mean_logits(IMAGES).argmax(1), values_of(name)
    native = build(name, "Linf", values)(estimator, IMAGES, labels, silence)
    theirs = torchattacks_attack(name, frozen_view(estimator, CPU), IMAGES, labels, "Linf", 10, values, 0)
    # the sign of a gradient of 0 is anybody's: one library's rounding may make it a step
    decided = estimator.gradient(IMAGES, labels) != 0
    assert float(decided.float().mean()) > 0.9
    torch.testing.assert_close(theirs[decided], native[decided], rtol=0, atol=1e-6)
    assert not torch.equal(native, IMAGES)


@pytest.mark.parametrize(("space", "norm", "eps"), [("bn", "Linf", 8 / 255), ("bn+in", "Linf", 8 / 255),
                                                    ("bn+in", "L2", 0.5)])
def test_autoattack_gives_what_the_library_gives_when_called_by_hand(
    short_autoattack: None, space: str, norm: str, eps: float
) -> None:
    model, path = model_and_path(space)
    estimator, seed = OnePath(model, path), 12345
    labels = estimator.mean_logits(IMAGES).argmax(1)
    found = autoattack(frozen_view(estimator, CPU), IMAGES, labels, norm, eps, 10, seed)
    with torch.random.fork_rng(devices=[]), frozen_parameters(model):
        torch.manual_seed(99)  # theirs seeds itself before every attack
        runner = pyautoattack.AutoAttack(model.on(path), norm=norm, eps=eps, version="standard", seed=seed)
        runner.verbose = False
        by_hand, _ = runner.run_standard_evaluation(IMAGES.contiguous(), labels, batch_size=4)
    assert torch.equal(found, by_hand)
    assert bool((found != IMAGES).flatten(1).any(1).any())


def test_autoattack_is_the_published_standard_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing shortened, the library is asked for the attacks, steps and restarts that its authors publish."""
    seen: list[Any] = []
    monkeypatch.setattr(pyautoattack.AutoAttack, "run_standard_evaluation",
                        lambda self, x, y, batch_size: (seen.append(self), (x, y))[1])
    for classes, samples in ((10, 0), (100, 0), (4, 0), (10, 20)):
        autoattack(View(Tensor.sigmoid, CPU), IMAGES, torch.arange(4), "Linf", 8 / 255, classes, 0, samples)
    for runner in seen[:3]:
        assert runner.attacks_to_run == ["apgd-ce", "apgd-t", "fab-t", "square"]
        assert (runner.apgd.n_iter, runner.apgd_targeted.n_iter, runner.fab.n_iter) == (100, 100, 100)
        assert runner.square.n_queries == 5000
    assert [(run.apgd_targeted.n_target_classes, run.fab.n_target_classes) for run in seen[:3]] == [
        (9, 9), (9, 9), (3, 3)]
    assert seen[3].attacks_to_run == version(20)["attacks"].split(", ")
    assert seen[3].apgd.eot_iter == version(20)["eot_iter"] == 20


def tracer(frame: FrameType, event: str, argument: object) -> None:
    return None


def autoattack_standard(view: nn.Module, labels: Tensor) -> Tensor:
    return autoattack(view, IMAGES, labels, "Linf", 2 / 255, 10, 7)


def by_torchattacks(name: str) -> Callable[[nn.Module, Tensor], Tensor]:
    def run(view: nn.Module, labels: Tensor) -> Tensor:
        return torchattacks_attack(name, view, IMAGES, labels, "Linf", 10, values_of(name), 7)

    return run


ADAPTERS = pytest.mark.parametrize("attacked", [
    autoattack_standard, *map(by_torchattacks, ["fgsm", "pgd3", "mifgsm", "cw5", "deepfool3", "apgd3-ce", "square20"]),
], ids=["autoattack", "fgsm", "pgd", "mifgsm", "cw", "deepfool", "apgd", "square"])


@ADAPTERS
def test_libraries_leave_everything_as_it_was(
    short_autoattack: None, attacked: Callable[[nn.Module, Tensor], Tensor]
) -> None:
    model, path = model_and_path("bn+in")
    model.train()
    model.network[1].eval()  # one submodule in another mode than the rest
    next(model.network[3].parameters()).requires_grad_(False)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)  # what training left
    images, labels = IMAGES.clone(), model.on(path)(IMAGES).argmax(1)
    modes, asked = [m.training for m in model.modules()], [p.requires_grad for p in model.parameters()]
    random.seed(3)
    states = torch.random.get_rng_state(), np.random.get_state(), random.getstate()
    drawn, trace = model.generator.get_state(), sys.gettrace()
    sys.settrace(tracer)
    try:
        with frozen_parameters(model), frozen_statistics(model):  # as an evaluation does: some call backward()
            attacked(frozen_view(OnePath(model, path), CPU), labels)
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(trace)
    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert np.random.get_state()[2] == states[1][2]  # type: ignore[call-overload]
    assert np.array_equal(np.random.get_state()[1], states[1][1])  # type: ignore[call-overload]
    assert random.getstate() == states[2]
    assert torch.equal(model.generator.get_state(), drawn)
    assert [m.training for m in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == asked
    assert all(p.grad is not None and bool((p.grad == 1).all()) for p in model.parameters())
    assert torch.equal(IMAGES, images)
    assert not IMAGES.requires_grad


def test_states_come_back_after_an_error_too() -> None:
    def careless() -> None:
        with guarded(5):
            sys.settrace(None)
            torch.rand(3)
            random.random()
            raise ZeroDivisionError

    states, trace = (torch.random.get_rng_state(), random.getstate()), sys.gettrace()
    sys.settrace(tracer)
    try:
        with pytest.raises(ZeroDivisionError):
            careless()
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(trace)
    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert random.getstate() == states[1]


def test_inside_the_guard_the_seed_alone_decides() -> None:
    drawn = []
    for before in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(before)
            with guarded(11):
                drawn.append((float(torch.rand(())), float(np.random.rand()), random.random()))
    assert drawn[0] == drawn[1]


@ADAPTERS
def test_the_same_seed_gives_the_same_images(
    short_autoattack: None, attacked: Callable[[nn.Module, Tensor], Tensor]
) -> None:
    model, path = model_and_path("bn+in")
    view, labels = frozen_view(OnePath(model, path), CPU), model.on(path)(IMAGES).argmax(1)
    first = attacked(view, labels)
    torch.rand(5)  # what else the process draws has no influence
    assert torch.equal(attacked(view, labels), first)
    assert float(first.min()) >= 0
    assert float(first.max()) <= 1


class Certain:
    """A randomised model that is always right, so that an attack makes all its steps."""

    def __init__(self, inner: RandomizedClassifier, label: int) -> None:
        self.inner, self.label = inner, label

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        return lambda images: self.inner.on(path)(images) + 100 * (torch.arange(10) == self.label)


def test_the_rand_version_draws_new_paths_at_every_step_and_in_every_batch(short_autoattack: None) -> None:
    """The library seeds the global generator alike for every batch; the paths must not follow it."""
    model, generator = lively_model("bn+in"), stream(0, "paths")

    def batch() -> list[str]:
        drawn: list[Path] = []
        view = Resampled(Certain(model, 3), lambda rows: (drawn.append(model.space.sample(generator)), drawn[-1])[1])
        autoattack(view, IMAGES, torch.full((4,), 3), "Linf", 1 / 255, 10, 7, samples=4)
        return list(map(str, drawn))

    first, second = batch(), batch()
    for drawn in (first, second):
        steps = [tuple(drawn[k : k + 4]) for k in range(0, len(drawn) - 3, 4)]
        assert len(steps) >= 14  # two attacks of 6 steps and a start
        assert len(set(steps)) > 0.9 * len(steps)  # of 64 paths to the power of 4 hardly any comes twice
    assert first[:20] != second[:20]


def test_the_rand_version_asks_for_as_many_draws_per_step_as_there_are_samples(short_autoattack: None) -> None:
    model, path = model_and_path("bn")
    labels = model.on(path)(IMAGES).argmax(1)
    calls = {}
    for samples in (1, 2, 5):
        count: list[int] = []
        view = Resampled(model, lambda rows, count=count: (count.append(rows), path)[1])  # type: ignore[misc]
        autoattack(view, IMAGES, labels, "Linf", 1e-6, 10, 7, samples)  # so near that nothing is ever broken
        calls[samples] = len(count)
    # two attacks of 6 steps and a start, each with so many draws; the rest does not depend on it
    assert calls[2] - calls[1] == 2 * 7
    assert calls[5] - calls[1] == 4 * 2 * 7


def test_a_resampled_model_stays_in_the_mode_that_it_is_in() -> None:
    model, path = model_and_path("bn+in")
    view = Resampled(model, lambda rows: path)
    assert not view.training
    torch.testing.assert_close(view(IMAGES), model.on(path)(IMAGES))
    sizes: list[int] = []
    Resampled(model, lambda rows: (sizes.append(rows), path)[1])(IMAGES)  # type: ignore[func-returns-value]
    assert sizes == [4]


def test_a_view_shows_a_library_no_module_to_change() -> None:
    model, path = model_and_path("bn+in")
    view = frozen_view(OnePath(model, path), CPU)
    view.train()
    assert not any(module.training for module in model.modules())
    assert len(list(view.parameters())) == 1
    torch.testing.assert_close(view(IMAGES), model.on(path)(IMAGES))


def test_images_that_their_mifgsm_turns_to_nan_come_back_as_they_were() -> None:
    def logits(images: Tensor) -> Tensor:  # without a gradient where the image is dark
        score = images.flatten(1).square().sum(1) * (images.detach().flatten(1).mean(1) > 0.5)
        return torch.stack([score, -score], 1)

    images = torch.full((3, 3, 4, 4), 0.7)
    images[1] = 0.2
    labels = torch.zeros(3, dtype=torch.int64)
    found = torchattacks_attack("mifgsm", View(logits, CPU), images, labels, "Linf", 2, values_of("mifgsm"), 0)
    assert torch.equal(found[1], images[1])
    assert bool((found[[0, 2]] < images[[0, 2]]).all())


@pytest.mark.parametrize("samples", [0, 2])
@pytest.mark.parametrize("classes", [4, 7])
def test_autoattack_works_with_few_classes(short_autoattack: None, classes: int, samples: int) -> None:
    model, path = model_and_path("bn+in")
    images = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    usual = model.on(path)(images).detach().mean(0)  # less this, the images are of several classes
    view = View(lambda x: (model.on(path)(x) - usual)[:, :classes], CPU)
    labels = view(images).argmax(1)
    found = autoattack(view, images, labels, "Linf", 32 / 255, classes, 0, samples)
    assert float((found - images).abs().max()) <= 32 / 255 + 1e-6
    wrong = view(found).argmax(1) != labels
    assert bool(wrong.any())
    # where it fails it hands back the image
    assert torch.equal((found != images).flatten(1).any(1), wrong)


@pytest.mark.parametrize(("name", "samples", "norm"), [
    ("pgd3-margin", 0, "Linf"), ("pgd3x2", 0, "Linf"), ("apgd3-margin", 0, "Linf"), ("fgsm", 0, "L2"),
    ("bim3", 0, "L2"), ("mifgsm", 2, "Linf"), ("pgd3-margin", 2, "Linf"), ("pgd3", 2, "L2"), ("cw", 2, "Linf"),
    ("autoattack", 2, "Linf")])
def test_torchattacks_refuses_what_it_cannot_do(name: str, samples: int, norm: str) -> None:
    view = View(lambda x: x.flatten(1)[:, :10], CPU)
    with pytest.raises(InvalidValue, match=name.split("-")[0]):
        torchattacks_attack(name, view, IMAGES, torch.arange(4), norm, 10, values_of(name), 0, samples)


def test_torchattacks_refuses_a_search_for_c() -> None:
    values = resolved(parse_attack({"kind": "cw", "searches": 3}), 0.1, 0.1)
    with pytest.raises(InvalidValue):
        torchattacks_attack("cw", View(lambda x: x.flatten(1)[:, :10], CPU), IMAGES, torch.arange(4), "Linf", 10,
                            values, 0)


def test_their_eot_pgd_draws_a_path_for_every_sample_of_every_step() -> None:
    model, generator, drawn = lively_model("bn+in"), stream(0, "paths"), []

    def draw(rows: int) -> Path:
        drawn.append(model.space.sample(generator))
        return drawn[-1]

    found = torchattacks_attack("pgd3", Resampled(model, draw), IMAGES, torch.arange(4), "Linf", 10, values_of("pgd3"),
                                0, samples=5)
    assert len(drawn) == 3 * 5
    assert len(set(map(str, drawn))) > 8
    assert float((found - IMAGES).abs().max()) <= 8 / 255 + 1e-6


def test_the_package_asks_for_a_torchattacks_that_pip_does_not_fall_back_from() -> None:
    file = File(rnabench.__file__).parent.parent / "pyproject.toml"
    wanted = tomllib.loads(file.read_text())["project"]["dependencies"]
    assert "torchattacks>=3.5.1" in wanted
