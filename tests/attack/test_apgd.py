"""Auto-PGD: its schedule, its optimum where that is known, and that it keeps the best that it has seen."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rnabench.attack.apgd import APGD, checkpoints
from rnabench.attack.attack import Strongest, Uniform
from rnabench.attack.estimators import Estimate, Expectation, OnePath
from rnabench.attack.gradient import PGD
from rnabench.attack.losses import LOSSES
from rnabench.attack.threat import L2, Linf, Threat, lengths
from rnabench.path.path import Path
from rnabench.seeding import ExampleStreams, stream
from rnabench.settings.attacks import LossName
from tests.helpers import lively_model


class Linear:
    """Logits W x + b."""

    def __init__(self, weights: Tensor, bias: Tensor) -> None:
        self.weights, self.bias = weights, bias

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        return lambda images: images.flatten(1) @ self.weights.T + self.bias


def linear(classes: int, seed: int = 0, pixels: int = 12) -> Linear:
    generator = torch.Generator().manual_seed(seed)
    return Linear(torch.randn(classes, pixels, generator=generator), torch.randn(classes, generator=generator))


def noise(count: int, seed: int = 0) -> Uniform:
    streams = ExampleStreams(seed, "start", indices=range(count))
    return lambda *shape: streams.uniform(*shape).float()


def random_images(count: int, size: int = 2, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 3000))
def test_checkpoints_start_at_22_percent_and_come_ever_closer(steps: int) -> None:
    found = sorted(checkpoints(steps))
    assert found[0] == max(int(0.22 * steps), 1)
    assert found[-1] <= steps
    distances = [b - a for a, b in pairwise([0, *found])]
    assert all(1 <= later <= earlier for earlier, later in pairwise(distances))
    assert steps - found[-1] <= distances[-1]  # up to the end


@pytest.mark.parametrize("loss", ["ce", "margin", "dlr", "t"])
@pytest.mark.parametrize("ball", [Linf, L2])
@given(eps=st.floats(0, 1), steps=st.integers(1, 12), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=15)
def test_stays_in_the_ball_and_in_the_unit_cube(
    loss: Literal["ce", "margin", "dlr", "t"], ball: type[Linf] | type[L2], eps: float, steps: int, seed: int
) -> None:
    images = random_images(4, seed=seed).round(decimals=1)  # with pixels of exactly 0 and 1
    attack = APGD(steps=steps, loss=loss, targets=3)
    moved = attack.run(OnePath(linear(4, seed), Path.of()), images, torch.arange(4), noise(4, seed), ball(eps))
    change = moved - images
    assert float(change.abs().max() if ball is Linf else lengths(change).max()) <= eps + 1e-6
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1


def test_reaches_the_best_corner_on_a_linear_model() -> None:
    toy, images, labels = linear(2), random_images(6), torch.tensor([0, 1, 0, 1, 0, 1])
    found = APGD(steps=20).run(OnePath(toy, Path.of()), images, labels, noise(6), Linf(0.2))
    uphill = (toy.weights[1 - labels] - toy.weights[labels]).view_as(images)
    torch.testing.assert_close(found, (images + 0.2 * uphill.sign()).clamp(0, 1))


def test_comes_close_to_the_best_point_of_the_l2_ball_on_a_linear_model() -> None:
    toy, images, labels = linear(2), 0.3 + 0.4 * random_images(6), torch.tensor([0, 1, 0, 1, 0, 1])
    found = APGD(steps=50).run(OnePath(toy, Path.of()), images, labels, noise(6), L2(0.2))
    uphill = (toy.weights[1 - labels] - toy.weights[labels]).view_as(images)
    reached = ((found - images) * uphill).flatten(1).sum(1)
    assert bool((reached > 0.99 * 0.2 * lengths(uphill).flatten()).all())


@pytest.mark.parametrize("loss", ["ce", "margin", "dlr"])
@pytest.mark.parametrize("threat", [Linf(0.05), L2(0.4)])
def test_is_never_weaker_than_its_own_start(loss: LossName, threat: Threat) -> None:
    model, images = lively_model("bn"), random_images(16, 8)
    estimator = OnePath(model, model.space.sample(torch.Generator()))
    labels = estimator.mean_logits(images).argmax(1)
    found = APGD(steps=7, loss=loss).run(estimator, images, labels, noise(16), threat)
    start = threat.start(images, noise(16)(3, 8, 8))
    last, first = (estimator.estimate(x, labels, LOSSES[loss], gradient=False) for x in (found, start))
    assert bool(((last.wrong > first.wrong) | ((last.wrong == first.wrong) & (last.loss >= first.loss))).all())
    assert float((last.loss - first.loss).mean()) > 0


def test_targeted_finds_a_misclassification_wherever_there_is_one() -> None:
    """On a linear model the largest gap to class t within the ball is known: gap + eps * |w_t - w_y|_1."""
    toy, images, eps = linear(4, seed=3), 0.3 + 0.4 * random_images(300), 0.05
    estimator = OnePath(toy, Path.of())
    logits = estimator.mean_logits(images)
    labels = logits.argmax(1)
    reach = eps * (toy.weights[None] - toy.weights[labels][:, None]).abs().sum(2)
    best = (logits - logits.gather(1, labels[:, None]) + reach).scatter(1, labels[:, None], -torch.inf).amax(1)
    found = APGD(steps=50, loss="t", targets=3).run(estimator, images, labels, noise(300), Linf(eps))
    wrong = estimator.wrong(found, labels) == 1
    within, beyond = best > 1e-3, best < -1e-3
    assert min(int(within.sum()), int(beyond.sum())) > 30
    assert bool(wrong[within].all())
    assert not bool(wrong[beyond].any())
    # where there is none it hands back a try, not the image
    assert bool((found != images).flatten(1).any(1)[beyond].all())


def test_every_target_gets_its_run() -> None:
    """The class that ranks second has the label's own weights and is out of reach; the third is within it."""
    weights = torch.zeros(5, 12)
    weights[2] = 1.0
    toy = Linear(weights, torch.tensor([0.0, -0.1, -6.5, -9.0, -9.0]))
    images, labels = torch.full((3, 3, 2, 2), 0.5), torch.zeros(3, dtype=torch.int64)
    estimator = OnePath(toy, Path.of())
    one, two = (APGD(steps=20, loss="t", targets=n).run(estimator, images, labels, noise(3), Linf(0.1)) for n in (1, 2))
    assert not bool(estimator.wrong(one, labels).any())  # the gap to the second never changes, so nothing leads there
    assert bool((estimator.wrong(two, labels) == 1).all())


def test_targets_beyond_the_number_of_classes_are_all_other_classes() -> None:
    toy, images = linear(4, seed=3), random_images(20)
    estimator = OnePath(toy, Path.of())
    labels = estimator.mean_logits(images).argmax(1)
    some, many = (APGD(steps=5, loss="t", targets=n).run(estimator, images, labels, noise(20), Linf(0.1))
                  for n in (3, 50))
    assert torch.equal(some, many)


def test_50_steps_leave_no_more_right_than_10_of_pgd() -> None:
    model, images = lively_model("bn"), random_images(64, 8)
    estimator = OnePath(model, model.space.sample(torch.Generator()))
    labels = estimator.mean_logits(images).argmax(1)
    weak = PGD(steps=10, step_size=1 / 255).run(estimator, images, labels, noise(64), Linf(4 / 255))
    strong = APGD(steps=50).run(estimator, images, labels, noise(64), Linf(4 / 255))
    broken = [float(estimator.wrong(found, labels).mean()) for found in (weak, strong)]
    assert 0.1 < broken[0] < 0.9  # else this compares nothing
    assert broken[1] >= broken[0] - 1 / 64


def test_what_one_example_gets_does_not_depend_on_the_others_under_per_sample_paths() -> None:
    model, images, labels = lively_model("bn+in"), random_images(5, 8), torch.arange(5)

    def attacked(indices: list[int]) -> Tensor:
        paths = ExampleStreams(0, "paths", indices=indices)
        estimator = Expectation(model, lambda repeats: model.space.sample_each(paths, repeats), 3)
        start = ExampleStreams(0, "start", indices=indices)
        return APGD(steps=6, restarts=2).run(estimator, images[indices], labels[indices],
                                             lambda *shape: start.uniform(*shape).float(), Linf(0.03))

    # a sign may turn where a gradient is all rounding, so a few pixels may differ
    same = ((attacked([0, 1, 2, 3, 4])[[3, 1]] - attacked([3, 1])).abs() < 1e-5).float().mean()
    assert float(same) > 0.99


@given(st.integers(0, 999))
def test_what_is_kept_is_the_most_often_wrong_and_of_equals_the_one_with_the_highest_loss(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    best, offers = Strongest(torch.zeros(4, 1, 1, 1)), []
    for number in range(1, 7):
        rows = (torch.rand(4, generator=generator) < 0.8).nonzero().squeeze(1)
        wrong = torch.randint(0, 3, (len(rows),), generator=generator) / 2
        loss = torch.rand(len(rows), generator=generator)
        best.offer(torch.full((len(rows), 1, 1, 1), float(number)), Estimate(loss, wrong, loss), rows)
        offers += [(row, w, value, float(number)) for row, w, value in
                   zip(rows.tolist(), wrong.tolist(), loss.tolist(), strict=True)]
    for row in range(4):
        strongest = max(((w, value, number) for place, w, value, number in offers if place == row), default=(0, 0, 0.0))
        assert float(best.images[row]) == strongest[2]


def test_averaging_over_paths_makes_more_fresh_draws_wrong() -> None:
    model, images, generator = lively_model("bn+in"), random_images(16, 8), stream(0, "paths")
    estimator = Expectation(model, lambda repeats: model.space.sample(generator), 8)
    labels = Expectation(model, lambda repeats: model.space.sample(generator), 200).mean_logits(images).argmax(1)
    found = APGD(steps=15).run(estimator, images, labels, noise(16), Linf(0.1))
    fresh = [float(estimator.wrong(x, labels, at_least=200).mean()) for x in (images, found)]
    assert fresh[1] > fresh[0] + 0.05
