"""AutoAttack is the library's, as published; its `rand` version draws fresh paths for every sample of every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyautoattack
import pytest
import torch
from torch import Tensor

from rnabench.attack.autoattack import AutoAttack
from rnabench.attack.estimators import OnePath, frozen_parameters
from rnabench.attack.libraries import Resampled, View, frozen_view
from rnabench.attack.threat import Linf, threat_model
from rnabench.model.classifier import RandomizedClassifier
from rnabench.path.path import Path
from rnabench.seeding import stream
from tests.attack.subjects import CPU, IMAGES, model_and_path
from tests.helpers import lively_model


@pytest.mark.parametrize(("space", "norm", "eps"), [("bn", "Linf", 8 / 255), ("bn+in", "Linf", 8 / 255),
                                                    ("bn+in", "L2", 0.5)])
def test_autoattack_gives_what_the_library_gives_when_called_by_hand(
    short_autoattack: None, space: str, norm: str, eps: float
) -> None:
    model, path = model_and_path(space)
    estimator, seed = OnePath(model, path), 12345
    labels = estimator.mean_logits(IMAGES).argmax(1)
    found = AutoAttack().call(frozen_view(estimator, CPU), IMAGES, labels, threat_model(norm, eps), 10, seed)
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
        AutoAttack().call(View(Tensor.sigmoid, CPU), IMAGES, torch.arange(4), Linf(8 / 255), classes, 0, samples)
    for runner in seen[:3]:
        assert runner.attacks_to_run == ["apgd-ce", "apgd-t", "fab-t", "square"]
        assert (runner.apgd.n_iter, runner.apgd_targeted.n_iter, runner.fab.n_iter) == (100, 100, 100)
        assert runner.square.n_queries == 5000
    assert [(run.apgd_targeted.n_target_classes, run.fab.n_target_classes) for run in seen[:3]] == [
        (9, 9), (9, 9), (3, 3)]
    assert seen[3].attacks_to_run == str(AutoAttack().of_library(20)["attacks"]).split(", ")
    assert seen[3].apgd.eot_iter == AutoAttack().of_library(20)["eot_iter"] == 20


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
        AutoAttack().call(view, IMAGES, torch.full((4,), 3), Linf(1 / 255), 10, 7, samples=4)
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
        AutoAttack().call(view, IMAGES, labels, Linf(1e-6), 10, 7, samples)  # so near that nothing is ever broken
        calls[samples] = len(count)
    # two attacks of 6 steps and a start, each with so many draws; the rest does not depend on it
    assert calls[2] - calls[1] == 2 * 7
    assert calls[5] - calls[1] == 4 * 2 * 7


@pytest.mark.parametrize("samples", [0, 2])
@pytest.mark.parametrize("classes", [4, 7])
def test_autoattack_works_with_few_classes(short_autoattack: None, classes: int, samples: int) -> None:
    model, path = model_and_path("bn+in")
    images = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    usual = model.on(path)(images).detach().mean(0)  # less this, the images are of several classes
    view = View(lambda x: (model.on(path)(x) - usual)[:, :classes], CPU)
    labels = view(images).argmax(1)
    found = AutoAttack().call(view, images, labels, Linf(32 / 255), classes, 0, samples)
    assert float((found - images).abs().max()) <= 32 / 255 + 1e-6
    wrong = view(found).argmax(1) != labels
    assert bool(wrong.any())
    # where it fails it hands back the image
    assert torch.equal((found != images).flatten(1).any(1), wrong)
