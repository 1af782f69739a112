"""DAG on classifiers: steps of one length towards a wrong class, until the image is misclassified."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rnabench.attack.attack import Uniform
from rnabench.attack.dag import DAG, of_length, wrong_classes
from rnabench.attack.estimators import Expectation, OnePath
from rnabench.attack.threat import L2
from rnabench.path.path import Path
from rnabench.seeding import ExampleStreams
from tests.attack.subjects import IMAGES, model_and_path
from tests.attack.test_minimal import Flickering
from tests.helpers import lively_model, random_images, run_evaluation

ANYWHERE = L2(math.inf)
LARGEST = 1 - 2**-24  # of what `uniform` draws


class Linear:
    """Logits W x; keeps the images that it was shown."""

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights
        self.shown: list[Tensor] = []

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        def logits(images: Tensor) -> Tensor:
            self.shown.append(images.detach().clone())
            return images.flatten(1) @ self.weights.T

        return logits


def draws(images: Tensor, first: int = 0) -> Uniform:
    return ExampleStreams(0, "start", indices=range(first, first + len(images))).uniform


def two_classes(seed: int) -> Linear:
    return Linear(torch.randn(2, 12, generator=torch.Generator().manual_seed(seed)))


def grey(count: int, seed: int = 0) -> Tensor:
    return 0.4 + 0.2 * torch.rand(count, 3, 2, 2, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(4))
def test_on_a_linear_toy_the_number_of_steps_is_that_of_the_formula(seed: int) -> None:
    """A step lowers the gap between the two logits by gamma |w|^2 / |w|_inf, w the difference of their weights."""
    gamma, toy, image = 1e-3, two_classes(seed), grey(1, seed)
    label = toy.on(Path.of())(image).argmax(1)
    w = toy.weights[label[0]] - toy.weights[1 - label[0]]
    needed = math.floor(float(w @ image.flatten()) / (gamma * float(w.square().sum() / w.abs().max()))) + 1
    toy.shown.clear()
    found = DAG(gamma=gamma).run(OnePath(toy, Path.of()), image, label, draws(image), ANYWHERE)
    assert len(toy.shown) == min(needed, 149) + 1  # each step is looked at, the last one too
    torch.testing.assert_close((found - image).abs().max(), torch.tensor(gamma * min(needed, 150)))
    for before, after in zip(toy.shown, toy.shown[1:], strict=False):
        torch.testing.assert_close((after - before).abs().max(), torch.tensor(gamma), rtol=1e-4, atol=0)


def test_it_stops_after_its_steps_and_leaves_what_is_misclassified() -> None:
    toy, images = two_classes(0), grey(6)
    labels = toy.on(Path.of())(images).argmax(1)
    labels[0] = 1 - labels[0]
    found = DAG(steps=2, gamma=1e-6).run(OnePath(toy, Path.of()), images, labels, draws(images), ANYWHERE)
    assert torch.equal(found[0], images[0])
    torch.testing.assert_close((found - images)[1:].abs().amax((1, 2, 3)), torch.full((5,), 2e-6), rtol=0.1, atol=0)


def test_it_lowers_accuracy_and_stays_a_picture() -> None:
    model, path = model_and_path("bn+in")
    estimator = OnePath(model, path)
    labels = estimator.mean_logits(IMAGES).argmax(1)
    found = DAG().run(estimator, IMAGES, labels, draws(IMAGES), ANYWHERE)
    assert float(estimator.wrong(found, labels).mean()) > 0.5
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert float((found - IMAGES).abs().max()) <= 150 * DAG().gamma * (1 + 1e-4)


def test_it_is_an_attack_of_an_evaluation() -> None:
    """One that knows no eps: it says how far it went."""
    model, images = lively_model("bn"), random_images()
    pixels = torch.from_numpy(images.images).permute(0, 3, 1, 2) / 255
    labels = model(pixels).argmax(1).numpy()
    clean, attacked = run_evaluation(model, images=replace(images, labels=labels), attacks=["dag"])
    assert clean.accuracy == 1
    assert attacked.accuracy < 0.7  # of so few and so small steps
    assert attacked.distances is not None
    assert bool((attacked.distances > 0).all())


def test_what_an_image_meets_does_not_depend_on_its_batch() -> None:
    model, path = model_and_path("bn")
    estimator = OnePath(model, path)
    labels = estimator.mean_logits(IMAGES).argmax(1)
    attack = DAG(steps=3)
    whole = attack.run(estimator, IMAGES, labels, draws(IMAGES), ANYWHERE)
    parts = [attack.run(estimator, IMAGES[[k]], labels[[k]], draws(IMAGES[[k]], k), ANYWHERE) for k in range(4)]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("samples", [1, 10])
def test_of_a_randomised_network_about_half_of_all_draws_are_wrong_in_the_end(samples: int) -> None:
    """Of which 3 in 10 are before: a single lucky draw does not end the attack."""
    flickering, images = Flickering(), torch.full((6, 3, 4, 4), 0.5)
    labels = torch.zeros(6, dtype=torch.int64)
    generator = torch.Generator().manual_seed(0)
    estimator = Expectation(flickering, lambda repeats: flickering.space.sample(generator), samples)
    found = DAG(gamma=2e-3).run(estimator, images, labels, draws(images), ANYWHERE)
    before, after = flickering.share_wrong(images), flickering.share_wrong(found)
    assert float(before.max()) < 0.4 <= float(after.min())


def test_without_a_gradient_nothing_moves() -> None:
    flat, images, labels = Linear(torch.zeros(2, 12)), grey(2), torch.zeros(2, dtype=torch.int64)
    found = DAG(steps=3).run(OnePath(flat, Path.of()), images, labels, draws(images), ANYWHERE)
    assert torch.equal(found, images)


@given(st.integers(2, 40), st.data())
def test_the_wrong_class_is_any_other_equally_often(classes: int, data: st.DataObject) -> None:
    label = data.draw(st.integers(0, classes - 1))
    middles = (torch.arange(classes - 1) + 0.5) / (classes - 1)
    drawn = wrong_classes(middles, torch.full((classes - 1,), label), classes)
    assert sorted([*drawn.tolist(), label]) == list(range(classes))
    assert int(wrong_classes(torch.tensor([LARGEST]), torch.tensor([label]), classes)) != label


@given(st.integers(0, 2**31 - 1), st.floats(1e-6, 1))
def test_a_step_has_just_its_length(seed: int, gamma: float) -> None:
    gradient = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 10.0 ** (seed % 9 - 4)
    gradient[0] = 0
    step = of_length(gradient, gamma)
    assert torch.equal(step[0], gradient[0])
    torch.testing.assert_close(step[1:].abs().amax((1, 2, 3)), torch.full((4,), gamma), rtol=1e-6, atol=0)
    assert torch.equal(step.sign(), gradient.sign())
