"""Common random numbers: what is compared meets the same paths and starts, and no batch size or name changes a draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rnabench.attack.estimators import Estimator, Expectation, OnePath
from rnabench.attack.gradient import PGD
from rnabench.attack.threat import Linf
from rnabench.defence.foreign import ForeignModel
from rnabench.evaluation import attacker
from rnabench.model.classifier import RandomizedClassifier
from rnabench.path.path import Path
from rnabench.scoring.outcome import path_groups
from rnabench.seeding import ExampleStreams
from rnabench.settings.attacks import LossName
from tests.evaluation.test_engine import PROTOCOLS, same
from tests.helpers import Lambda, lively_model, random_images, run_evaluation


class Spy:
    """A defence that remembers the rows of all paths that it was run on, with whether a gradient was asked for."""

    def __init__(self, model: RandomizedClassifier) -> None:
        self.model, self.space = model, model.space
        self.attacked: set[tuple[int, ...]] = set()

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        view = self.model.on(path)

        def run(images: Tensor) -> Tensor:
            if images.requires_grad:
                self.attacked |= set(path.rows)
            logits: Tensor = view(images)
            return logits

        return run


@pytest.mark.parametrize("granularity", ["batch", "sample"])
def test_no_batch_size_changes_an_outcome(granularity: str) -> None:
    runs = [run_evaluation(lively_model(), images=random_images(20), protocols=PROTOCOLS, granularity=granularity,
                           attack_paths=6, batch_size=size) for size in (1, 7, 20)]
    assert same(runs[0], runs[1])
    assert same(runs[0], runs[2])


def test_paths_for_a_whole_batch_are_the_same_one_after_the_other_and_in_one_pass(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU one pass has all images on all paths; the draws are those of the passes one by one."""
    def outcomes() -> Any:
        return run_evaluation(lively_model(), images=random_images(12), protocols=["eot:5"], attack_paths=1,
                              batch_size=12)

    one_by_one = outcomes()
    passes: list[int] = []
    on = RandomizedClassifier.on

    def spy(self: RandomizedClassifier, path: Path) -> Any:
        passes.append(len(path.choices))
        return on(self, path)

    monkeypatch.setattr(attacker, "rows_pay", lambda device: True)
    monkeypatch.setattr(RandomizedClassifier, "on", spy)
    assert same(one_by_one, outcomes())
    assert 5 * 12 in passes


def test_the_first_images_of_more_meet_the_same_paths() -> None:
    few, many = (run_evaluation(lively_model(), images=random_images(24), protocols=["paper"], n_examples_of=limit)[1]
                 for limit in ({"pgd2": 20}, {}))
    assert len(few.correct) == 20
    assert np.array_equal(few.correct, many.correct[:20])


def test_sixteen_images_in_one_batch_are_attacked_on_sixteen_paths() -> None:
    """One path served a whole batch: an evaluation of 128 images or fewer had a single attack path."""
    spy = Spy(lively_model(layers=6))
    outcome = run_evaluation(spy.model, images=random_images(32), protocols=["paper"], batch_size=128,
                             defence=spy)[1]
    assert len(spy.attacked) > 12  # of 64 paths, sixteen draws are seldom all different
    assert outcome.groups is not None
    assert len(set(outcome.groups.tolist())) == 16


@pytest.mark.parametrize("images", [1, 5, 16, 17, 100])
def test_groups_are_as_many_as_can_be_and_equally_large(images: int) -> None:
    _, sizes = np.unique(path_groups(0, images, 16), return_counts=True)
    assert len(sizes) == min(images, 16)
    assert sizes.max() - sizes.min() <= 1
    assert np.array_equal(path_groups(0, images, 16)[3:], path_groups(3, max(images - 3, 0), 16))


@pytest.mark.parametrize("protocol", ["paper", "eot:3"])
def test_an_attack_by_another_name_is_the_same_attack(protocol: str) -> None:
    """One PGD-5 under two names on one network left 23.4 and 29.5 %."""
    attack: dict[str, Any] = {"kind": "pgd", "steps": 2}
    outcomes = run_evaluation(lively_model(), protocols=[protocol],
                              attacks=[attack | {"name": "mine"}, attack | {"name": "yours"}])
    assert np.array_equal(outcomes[1].correct, outcomes[2].correct)
    assert np.array_equal(outcomes[1].reported, outcomes[2].reported)


@pytest.mark.parametrize("averages", [False, True])
def test_the_first_steps_of_more_are_those_of_fewer(averages: bool) -> None:
    """PGD-3 and the first 3 of 6 steps, CE and margin from one start: whichever is run, its path and start are the
    same, so that the images that meet the gradient are, too."""
    model, images = lively_model(), torch.from_numpy(random_images(6).images).permute(0, 3, 1, 2) / 255
    labels = torch.arange(6)

    def iterates(steps: int, loss: LossName) -> list[Tensor]:
        seen: list[Tensor] = []
        paths = ExampleStreams(0, "attack path", indices=range(6))
        estimator: Estimator = Expectation(model, lambda repeats: model.space.sample_each(paths, repeats), 3
                                           ) if averages else OnePath(model, model.space.sample_each(paths))
        gradient = estimator.gradient

        def watched(candidate: Tensor, *rest: Any, **more: Any) -> Tensor:
            seen.append(candidate.detach().clone())
            return gradient(candidate, *rest, **more)

        estimator.gradient = watched  # type: ignore[method-assign]
        start = ExampleStreams(0, "attack start", indices=range(6))
        PGD(steps=steps, step_size=0.02, loss=loss).run(estimator, images, labels, start.uniform, Linf(0.1))
        return seen

    short, long, margin = iterates(3, "ce"), iterates(6, "ce"), iterates(3, "margin")
    assert all(torch.equal(one, other) for one, other in zip(short, long, strict=False))
    assert torch.equal(short[0], margin[0])


def test_a_foreign_randomised_model_is_frozen_group_by_group() -> None:
    weights = torch.randn(192, 10, generator=torch.Generator().manual_seed(0))
    drawn: list[int] = []

    def noisy(x: Tensor) -> Tensor:
        drawn.append(torch.initial_seed())
        return (x + 0.1 * torch.rand(())).flatten(1) @ weights

    images = random_images(24, size=8)
    model = ForeignModel(Lambda(noisy), torch.rand(4, 3, 8, 8), 10)
    drawn.clear()
    runs = [run_evaluation(model, images=images, protocols=["paper", "eot:2"], attack_paths=8, batch_size=size,
                           draws=2) for size in (24, 24, 3)]
    assert same(runs[0], runs[1])
    assert same(runs[0], runs[2])
    assert len(set(drawn)) > 8 * (1 + 2)  # groups of attacked and scoring paths, not one for all images
