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
import pytest
import torch
from torch import Tensor, nn

import rnabench
from rnabench.attack.attack import Attack, ready
from rnabench.attack.autoattack import AutoAttack
from rnabench.attack.estimators import OnePath, frozen_parameters
from rnabench.attack.libraries import Resampled, View, by_torchattacks, frozen_view, guarded
from rnabench.attack.threat import Linf
from rnabench.errors import InvalidValue
from rnabench.norm.layers import frozen_statistics
from rnabench.path.path import Path
from rnabench.seeding import stream
from rnabench.settings.attacks import parse_attack
from tests.attack.subjects import CPU, IMAGES, model_and_path
from tests.helpers import lively_model


def theirs(described: str | dict[str, Any], view: nn.Module, labels: Tensor, seed: int = 0, images: Tensor = IMAGES,
           norm: str = "Linf", classes: int = 10, samples: int = 0) -> Tensor:
    spec = parse_attack(described)
    attack, threat = ready(spec, norm, 8 / 255, 2 / 255)
    return by_torchattacks(spec.name, attack, view, images, labels, threat, classes, seed, samples)


def silence(*shape: int) -> Tensor:
    raise AssertionError("this attack needs no random numbers")


BOTH = pytest.mark.parametrize("space", ["bn", "bn+in"])


@BOTH
@pytest.mark.parametrize("name", ["fgsm", "bim5", "mifgsm"])
def test_the_same_formula_gives_the_same_images(space: str, name: str) -> None:
    model, path = model_and_path(space)
    estimator = OnePath(model, path)
    labels, (attack, threat) = estimator.mean_logits(IMAGES).argmax(1), ready(parse_attack(name), "Linf", 8 / 255,
                                                                              2 / 255)
    assert isinstance(attack, Attack)
    native = attack.run(estimator, IMAGES, labels, silence, threat)
    library = theirs(name, frozen_view(estimator, CPU), labels)
    # the sign of a gradient of 0 is anybody's: one library's rounding may make it a step
    decided = estimator.gradient(IMAGES, labels) != 0
    assert float(decided.float().mean()) > 0.9
    torch.testing.assert_close(library[decided], native[decided], rtol=0, atol=1e-6)
    assert not torch.equal(native, IMAGES)


def tracer(frame: FrameType, event: str, argument: object) -> None:
    return None


def autoattack_standard(view: nn.Module, labels: Tensor) -> Tensor:
    return AutoAttack().call(view, IMAGES, labels, Linf(2 / 255), 10, 7)


def their(name: str) -> Callable[[nn.Module, Tensor], Tensor]:
    return lambda view, labels: theirs(name, view, labels, 7)


ADAPTERS = pytest.mark.parametrize("attacked", [
    autoattack_standard, *map(their, ["fgsm", "pgd3", "mifgsm", "cw5", "deepfool3", "apgd3-ce", "square20"]),
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
    found = theirs("mifgsm", View(logits, CPU), labels, images=images, classes=2)
    assert torch.equal(found[1], images[1])
    assert bool((found[[0, 2]] < images[[0, 2]]).all())


@pytest.mark.parametrize(("name", "samples", "norm"), [
    ("pgd3-margin", 0, "Linf"), ("pgd3x2", 0, "Linf"), ("apgd3-margin", 0, "Linf"), ("fgsm", 0, "L2"),
    ("bim3", 0, "L2"), ("mifgsm", 2, "Linf"), ("pgd3-margin", 2, "Linf"), ("pgd3", 2, "L2"), ("cw", 2, "Linf"),
    ("autoattack", 2, "Linf")])
def test_torchattacks_refuses_what_it_cannot_do(name: str, samples: int, norm: str) -> None:
    view = View(lambda x: x.flatten(1)[:, :10], CPU)
    with pytest.raises(InvalidValue, match=name.split("-")[0]):
        theirs(name, view, torch.arange(4), norm=norm, samples=samples)


def test_torchattacks_refuses_a_search_for_c() -> None:
    with pytest.raises(InvalidValue, match="cw-search"):
        theirs({"name": "cw-search", "kind": "cw", "searches": 3}, View(lambda x: x.flatten(1)[:, :10], CPU),
               torch.arange(4))


def test_their_eot_pgd_draws_a_path_for_every_sample_of_every_step() -> None:
    model, generator, drawn = lively_model("bn+in"), stream(0, "paths"), []

    def draw(rows: int) -> Path:
        drawn.append(model.space.sample(generator))
        return drawn[-1]

    found = theirs("pgd3", Resampled(model, draw), torch.arange(4), samples=5)
    assert len(drawn) == 3 * 5
    assert len(set(map(str, drawn))) > 8
    assert float((found - IMAGES).abs().max()) <= 8 / 255 + 1e-6


def test_the_package_asks_for_a_torchattacks_that_pip_does_not_fall_back_from() -> None:
    file = File(rnabench.__file__).parent.parent / "pyproject.toml"
    wanted = tomllib.loads(file.read_text())["project"]["dependencies"]
    assert "torchattacks>=3.5.1" in wanted
