"""ARC fools what can be fooled, path by path, where the mean of the losses leads nowhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st
from torch import Tensor

from rnabench.attack.arc import ARC
from rnabench.attack.attack import Attack
from rnabench.attack.estimators import Estimator, GivenPaths, OnePath
from rnabench.attack.gradient import PGD
from rnabench.attack.minimal import DeepFool
from rnabench.attack.threat import L2, Linf
from rnabench.path.path import Path
from rnabench.seeding import ExampleStreams
from tests.attack.toys import noise, silence
from tests.helpers import lively_model

Ball = type[Linf] | type[L2]
BALLS = pytest.mark.parametrize("ball", [Linf, L2])
EPS = {Linf: 0.03, L2: 0.2}


class Linear:
    """Paths that are linear classifiers, `weights` [paths, classes, D] and `biases` [paths, classes]."""

    def __init__(self, weights: Tensor, biases: Tensor) -> None:
        self.weights, self.biases = weights, biases

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        def logits(images: Tensor) -> Tensor:
            chosen = path.choices[:, 0]
            return torch.einsum("nd,ncd->nc", images.flatten(1), self.weights[chosen].expand(
                len(images), -1, -1)) + self.biases[chosen]

        return logits

    def all_paths(self) -> GivenPaths:
        return GivenPaths(self, [Path.of(number) for number in range(len(self.weights))])


def two_classes(image: Tensor, normals: Tensor, distances: Tensor, ball: Ball, scales: Tensor) -> Linear:
    """Paths [K] that call `image` class 0, at these distances in the ball's norm from their boundaries, whose normals
    [K, D] and scales of logits are given."""
    dual = normals.norm(p=1 if ball is Linf else 2, dim=1, keepdim=True)
    weights = scales[:, None] * normals / dual
    score = scales * distances - weights @ image.flatten()
    return Linear(torch.stack([weights, -weights], 1), torch.stack([score, -score], 1))


def middling(seed: int, side: int = 4) -> Tensor:
    """An image so far from 0 and 1 that nothing below is clipped there."""
    return 0.4 + 0.2 * torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


def wrong_after(attack: Attack, toy: Linear, image: Tensor, ball: Ball, seed: int = 0) -> float:
    label = torch.zeros(1, dtype=torch.int64)
    found = attack.run(toy.all_paths(), image, label, noise(1, seed), ball(EPS[ball]))
    return float(toy.all_paths().wrong(found, label))


@BALLS
@pytest.mark.parametrize("seed", range(3))
def test_where_gradients_cancel_eot_pgd_stands_still_and_arc_fools_as_much_as_can_be_fooled(ball: Ball, seed: int
                                                                                           ) -> None:
    """Two opposite linear classifiers of equal slope: the mean margin is flat. No image fools both."""
    image, eps = middling(seed), EPS[ball]
    normal = torch.randn(48, generator=torch.Generator().manual_seed(seed))
    toy = two_classes(image, torch.stack([normal, -normal]), torch.tensor([0.7 * eps, 0.7 * eps]), ball, torch.ones(2))
    flat = toy.all_paths().gradient(image, torch.zeros(1, dtype=torch.int64), lambda z, y: z[..., 1] - z[..., 0])
    assert float(flat.abs().max()) < 1e-6
    assert wrong_after(ARC(), toy, image, ball) == 0.5


@BALLS
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("loss", ["ce", "margin"])
def test_eot_pgd_runs_after_the_steepest_path_which_it_cannot_reach_and_arc_takes_the_other(ball: Ball, seed: int,
                                                                                        loss: str) -> None:
    image, eps = middling(seed), EPS[ball]
    normal = torch.randn(48, generator=torch.Generator().manual_seed(seed))
    toy = two_classes(image, torch.stack([normal, -normal]), torch.tensor([1.5 * eps, 0.5 * eps]), ball,
                      torch.tensor([0.4, 0.1]))
    assert wrong_after(PGD(steps=50, loss=loss), toy, image, ball, seed) == 0  # type: ignore[arg-type]
    assert wrong_after(ARC(steps=1), toy, image, ball) == 0.5


@bounded(max_examples=25, deadline=None)
@given(ball=st.sampled_from([Linf, L2]), seed=st.integers(0, 999),
       distances=st.lists(st.floats(0.05, 3), min_size=1, max_size=5))
def test_if_any_path_can_be_fooled_some_path_is(ball: Ball, seed: int, distances: list[float]) -> None:
    """Consistency, Theorem 2 of the paper; distances in units of eps. With one path it is the optimal attack."""
    generator = torch.Generator().manual_seed(seed)
    image, normals = middling(seed), torch.randn(len(distances), 48, generator=generator)
    toy = two_classes(image, normals, EPS[ball] * torch.tensor(distances), ball, 1 + torch.rand(len(distances),
                                                                                              generator=generator))
    wrong = wrong_after(ARC(steps=2), toy, image, ball)
    if min(distances) < 0.99:
        assert wrong > 0
    if min(distances) > 1.01:
        assert wrong == 0


@pytest.mark.parametrize("seed", range(5))
def test_paths_that_look_at_different_pixels_are_all_fooled(seed: int) -> None:
    """In the maximum norm what fools one does not stand in the way of another."""
    generator = torch.Generator().manual_seed(seed)
    normals = torch.randn(48, generator=generator) * (torch.arange(48) % 3 == torch.arange(3)[:, None])
    distances = EPS[Linf] * (0.1 + 0.8 * torch.rand(3, generator=generator))
    toy = two_classes(middling(seed), normals, distances, Linf, torch.ones(3))
    assert wrong_after(ARC(), toy, middling(seed), Linf) == 1


@bounded(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), share=st.floats(0.5, 2))
def test_with_one_path_it_is_no_weaker_than_deepfool_in_a_ball(seed: int, share: float) -> None:
    """On a linear classifier of ten classes; the ball is by `share` larger than DeepFool's change."""
    generator = torch.Generator().manual_seed(seed)
    toy = Linear(torch.randn(1, 10, 48, generator=generator), torch.randn(1, 10, generator=generator))
    image, path = middling(seed), Path.of(0)
    label = OnePath(toy, path).mean_logits(image).argmax(1)
    nearest = DeepFool(candidates=9, overshoot=0.001).run(OnePath(toy, path), image, label, silence, L2(1e9))
    eps = share * float(L2(1.0).length(nearest - image))
    found = ARC(steps=1, candidates=9).run(OnePath(toy, path), image, label, silence, L2(eps))
    if share > 1.01:
        assert float(OnePath(toy, path).wrong(found, label)) >= float(OnePath(toy, path).wrong(nearest, label)) == 1


@pytest.mark.parametrize("threat", [Linf(0.05), L2(0.5)], ids=["linf", "l2"])
def test_on_a_network_it_stays_in_the_ball_and_never_makes_more_paths_right(threat: Linf | L2) -> None:
    """Path by image, and each image as if it were alone."""
    model, images = lively_model(), torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1)).round(decimals=1)
    streams = ExampleStreams(3, "paths", indices=range(6))
    paths = [model.space.sample_each(streams) for _ in range(4)]
    estimator = GivenPaths(model, paths)
    labels = estimator.mean_logits(images).argmax(1)
    found = ARC(steps=3).run(estimator, images, labels, silence, threat)
    assert float(threat.length(found - images).max()) <= threat.eps + 1e-6
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    before, after = estimator.wrong(images, labels), estimator.wrong(found, labels)
    assert bool((after >= before).all())
    assert bool((after > before).any())
    for number in (0, 5):
        one: Estimator = GivenPaths(model, [path.take(torch.tensor([number])) for path in paths])
        alone = ARC(steps=3).run(one, images[number : number + 1], labels[number : number + 1], silence, threat)
        assert float(one.wrong(alone, labels[number : number + 1])) == float(after[number])


def test_images_that_no_path_gets_right_stay_as_they_are() -> None:
    model, images = lively_model(), torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    estimator = OnePath(model, model.space.sample(torch.Generator()))
    labels = (estimator.mean_logits(images).argmax(1) + 1) % 10
    assert torch.equal(ARC().run(estimator, images, labels, silence, Linf(0.1)), images)
