"""Minimal-norm attacks find the distances that are known, and `shorten` only ever shortens."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rnabench.attack.attack import Attack
from rnabench.attack.estimators import Estimator, Expectation, OnePath
from rnabench.attack.minimal import CarliniWagner, DeepFool, shorten
from rnabench.attack.threat import L2
from rnabench.path.path import Path
from rnabench.path.space import PathSpace
from rnabench.seeding import ExampleStreams
from tests.helpers import lively_model

PIXELS = 3 * 4 * 4
ANYWHERE = L2(math.inf)


class Linear:
    """Logits W x + b, summed pixel by pixel so that no example's depend on the size of the batch."""

    def __init__(self, weights: Tensor, bias: Tensor) -> None:
        self.weights, self.bias = weights, bias

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        return lambda images: (images.flatten(1)[:, None] * self.weights).sum(2) + self.bias


class Flickering:
    """Two classes, logits ±(w·x + b + noise of the path); at the grey image 3 of 10 paths are wrong."""

    space = PathSpace(("only",), (tuple("abcdefghij"),))
    weights = torch.randn(PIXELS, generator=torch.Generator().manual_seed(2)) / PIXELS**0.5
    levels = torch.tensor([-1.0, -0.8, -0.6, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5])

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        shift = self.levels[[row[0] for row in path.rows]]

        def logits(images: Tensor) -> Tensor:
            score = ((images.flatten(1) - 0.5) * self.weights).sum(1) + 0.35 + shift
            return torch.stack([score, -score], 1)

        return logits

    def share_wrong(self, images: Tensor) -> Tensor:
        """Of all ten paths, exactly."""
        return torch.stack([self.on(Path.of(k))(images).argmax(1) != 0 for k in range(10)]).float().mean(0)


def silence(*shape: int) -> Tensor:
    raise AssertionError("this attack needs no random numbers")


def distances(found: Tensor, images: Tensor) -> Tensor:
    return (found - images).flatten(1).norm(dim=1)


def linear(classes: int, seed: int) -> Linear:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(classes, PIXELS, generator=generator)
    middle = (weights * 0.5).sum(1)  # so that the boundaries pass near the middle of the cube
    return Linear(weights, 0.6 * torch.randn(classes, generator=generator) - middle)


def well_inside(count: int, seed: int) -> Tensor:
    return 0.45 + 0.1 * torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed + 1000))


def true_distances(toy: Linear, images: Tensor, labels: Tensor) -> Tensor:
    """To the nearest hyperplane between the label and another class: |gap| / |w_t - w_y|."""
    logits = OnePath(toy, Path.of()).mean_logits(images)
    gaps = logits.gather(1, labels[:, None]) - logits
    away = (toy.weights[None] - toy.weights[labels][:, None]).norm(dim=2)
    return (gaps / away).scatter(1, labels[:, None], torch.inf).amin(1)


def correctly(toy: Linear, images: Tensor) -> tuple[Estimator, Tensor]:
    estimator = OnePath(toy, Path.of())
    return estimator, estimator.mean_logits(images).argmax(1)


BOTH = pytest.mark.parametrize("attack", [CarliniWagner(c=10.0, steps=200), DeepFool()], ids=["cw", "deepfool"])


def check_distances(attack: Attack, toy: Linear, images: Tensor) -> None:
    estimator, labels = correctly(toy, images)
    found = attack.run(estimator, images, labels, silence, ANYWHERE)
    truth = true_distances(toy, images, labels)
    assert float(truth.min()) > 1e-3  # else 2 % of it is rounding
    assert bool((estimator.wrong(found, labels) == 1).all())
    assert bool((distances(found, images) >= truth * (1 - 1e-3)).all())  # none can be nearer
    assert bool((distances(found, images) <= truth * 1.02).all())


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_deepfool_finds_the_distance_to_the_nearest_hyperplane(classes: int, seed: int) -> None:
    check_distances(DeepFool(), linear(classes, seed), well_inside(8, seed))


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_cw_finds_the_distance_to_the_nearest_hyperplane(classes: int, seed: int) -> None:
    """With a c of three times the least that can fool, 2 * distance / slope of the gap: the hinge is then worth its
    change, and not so steep that Adam sees its sign only."""
    toy, images = linear(classes, seed), well_inside(8, seed)
    # a boundary much nearer than Adam's first step, half of lr for every pixel, is overshot before it is seen
    for image in images[true_distances(toy, images, correctly(toy, images)[1]) > 0.02].split(1):
        label = correctly(toy, image)[1]
        truth = float(true_distances(toy, image, label))
        slope = float((toy.weights - toy.weights[label]).norm(dim=1).max())
        check_distances(CarliniWagner(c=3 * 2 * truth / slope), toy, image)


@BOTH
def test_images_that_are_misclassified_already_are_returned_as_they_are(attack: Attack) -> None:
    toy, images = linear(4, 0), well_inside(6, 0)
    estimator, labels = correctly(toy, images)
    wrong = torch.tensor([True, False, True, True, False, False])
    found = attack.run(estimator, images, torch.where(wrong, (labels + 1) % 4, labels), silence, ANYWHERE)
    assert torch.equal(found[wrong], images[wrong])
    assert bool((distances(found, images)[~wrong] > 0).all())


@BOTH
def test_results_are_images(attack: Attack) -> None:
    generator = torch.Generator().manual_seed(0)
    toy, images = linear(4, 1), torch.rand(8, 3, 4, 4, generator=generator).round()
    estimator, labels = correctly(toy, images)
    found = attack.run(estimator, images, labels, silence, ANYWHERE)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1


@BOTH
def test_what_one_example_gets_does_not_depend_on_the_others(attack: Attack) -> None:
    toy, images = linear(4, 2), well_inside(6, 2)
    estimator, labels = correctly(toy, images)
    labels[1] = (labels[1] + 1) % 4  # one that leaves the batch at once
    together = attack.run(estimator, images, labels, silence, ANYWHERE)
    alone = torch.cat([attack.run(estimator, images[k : k + 1], labels[k : k + 1], silence, ANYWHERE)
                       for k in range(6)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


def test_deepfool_on_a_network_finds_the_same_distances_one_by_one() -> None:
    model = lively_model("bn")
    estimator = OnePath(model, model.space.sample(torch.Generator()))
    images = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    labels = estimator.mean_logits(images).argmax(1)
    together = DeepFool().run(estimator, images, labels, silence, ANYWHERE)
    alone = torch.cat([DeepFool().run(estimator, images[k : k + 1], labels[k : k + 1], silence, ANYWHERE)
                       for k in range(8)])
    assert bool((estimator.wrong(together, labels) == 1).all())
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)


def test_shifting_all_logits_changes_nothing_for_cw() -> None:
    toy, images = linear(4, 3), well_inside(6, 3)
    low = Linear(toy.weights, toy.bias - 100)
    labels = correctly(toy, images)[1]
    attack = CarliniWagner(c=10.0, steps=200)
    found = [attack.run(OnePath(each, Path.of()), images, labels, silence, ANYWHERE) for each in (toy, low)]
    assert float(correctly(low, images)[0].mean_logits(images).max()) < 0
    assert bool((OnePath(low, Path.of()).wrong(found[1], labels) == 1).all())
    torch.testing.assert_close(*(distances(each, images) for each in found), rtol=0.01, atol=1e-4)


def test_cw_moves_pixels_of_exactly_0_and_1() -> None:
    """Every pixel is at a border of the cube, and the way to the other class leads inwards."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 2, (4, 3, 4, 4), generator=generator).float()
    for image in images:
        inward = (0.5 - image).flatten() * (0.5 + torch.rand(PIXELS, generator=generator))
        gap = 0.3 * float(inward.norm())  # the boundary is at distance 0.3
        toy = Linear(torch.stack([torch.zeros(PIXELS), inward]),
                     torch.tensor([float(inward @ image.flatten()) + gap, 0.0]))
        estimator, label = OnePath(toy, Path.of()), torch.tensor([0])
        attack = CarliniWagner(c=3 * 2 * 0.3 / float(inward.norm()))  # three times the least c that can fool
        found = attack.run(estimator, image[None], label, silence, ANYWHERE)
        assert float(estimator.wrong(found, label)) == 1
        assert float(distances(found, image[None])) == pytest.approx(0.3, rel=0.02)


def test_searching_for_c_succeeds_where_c_alone_is_far_too_small() -> None:
    toy, images = linear(4, 4), well_inside(6, 4)
    estimator, labels = correctly(toy, images)
    truth = true_distances(toy, images, labels)
    alone = CarliniWagner(c=1e-5, steps=200).run(estimator, images, labels, silence, ANYWHERE)
    # Adam's first steps have the same size for every c, so that images near a boundary may be fooled by chance
    assert float(estimator.wrong(alone, labels).mean()) < 0.5
    attack = CarliniWagner(c=1e-5, steps=200, searches=7)
    found = attack.run(estimator, images, labels, silence, ANYWHERE)
    assert bool((estimator.wrong(found, labels) == 1).all())
    assert bool((distances(found, images) <= 1.05 * truth).all())
    each = torch.cat([attack.run(estimator, images[k : k + 1], labels[k : k + 1], silence, ANYWHERE)
                      for k in range(6)])
    torch.testing.assert_close(found, each, rtol=0, atol=1e-6)


def test_more_searches_never_find_longer_changes() -> None:
    model = lively_model("bn")
    estimator = OnePath(model, model.space.sample(torch.Generator()))
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = estimator.mean_logits(images).argmax(1)
    once, more = (CarliniWagner(c=1.0, steps=40, searches=n).run(estimator, images, labels, silence, ANYWHERE)
                  for n in (0, 3))
    fooled = estimator.wrong(once, labels) == 1
    assert bool(fooled.any())
    assert bool((estimator.wrong(more, labels)[fooled] == 1).all())
    # both end in a bisection that stops within a 128th
    assert bool((distances(more, images)[fooled] <= distances(once, images)[fooled] * (1 + 1 / 64)).all())


@pytest.mark.parametrize(("attack", "samples"), [
    (DeepFool(), 1), (DeepFool(), 20), (CarliniWagner(c=10.0, steps=200), 1), (CarliniWagner(c=10.0, steps=200), 20),
    (CarliniWagner(c=1.0, steps=200, searches=4), 20),
], ids=["deepfool-1", "deepfool-20", "cw-1", "cw-20", "cw-search-20"])
def test_what_is_returned_is_wrong_on_about_half_of_fresh_draws_though_one_draw_in_three_is_wrong_at_the_start(
    attack: Attack, samples: int
) -> None:
    toy = Flickering()
    images, labels = torch.full((64, 3, 4, 4), 0.5), torch.zeros(64, dtype=torch.int64)
    assert toy.share_wrong(images)[0] == pytest.approx(0.3)
    streams = ExampleStreams(0, "paths", indices=range(64))
    estimator = Expectation(toy, lambda repeats: toy.space.sample_each(streams, repeats), samples)
    found = attack.run(estimator, images, labels, silence, ANYWHERE)
    # one draw in the place of a majority of ten would leave 30 % of the images where they were, instead of 5 %
    unmoved = (found == images).flatten(1).all(1)
    assert float(unmoved.float().mean()) < 0.15
    # DeepFool asks once per step; CW chooses among many tries, of which the kept one was lucky (one path of ten less)
    least = 0.5 if isinstance(attack, DeepFool) else 0.4
    assert float((toy.share_wrong(found) >= least - 1e-6).float().mean()) > 0.75


@given(st.integers(0, 999), st.integers(1, 9))
@settings(deadline=None, max_examples=25)
def test_shorten_never_lengthens_and_keeps_what_is_misclassified(seed: int, halvings: int) -> None:
    model, generator = lively_model("bn"), torch.Generator().manual_seed(seed)
    estimator = OnePath(model, model.space.sample(torch.Generator()))
    images, other = torch.rand(2, 6, 3, 8, 8, generator=generator)
    found = torch.where(torch.rand(6, generator=generator).view(-1, 1, 1, 1) < 0.8, other, images)
    labels = torch.where(torch.rand(6, generator=generator) < 0.8, estimator.mean_logits(images).argmax(1), 3)
    before = estimator.wrong(found, labels) == 1
    kept = found.clone()
    short = shorten(estimator, found, images, labels, halvings)
    assert torch.equal(found, kept)  # it changes nothing in place
    assert bool((distances(short, images) <= distances(found, images)).all())
    assert torch.equal(estimator.wrong(short, labels) == 1, before)
    assert torch.equal(short[~before], found[~before])
    assert float(short.min()) >= 0
    assert float(short.max()) <= 1


def test_shorten_ends_within_its_resolution_of_the_boundary() -> None:
    toy, images = linear(2, 5), well_inside(5, 5)
    estimator, labels = correctly(toy, images)
    truth = true_distances(toy, images, labels)
    uphill = (toy.weights[1 - labels] - toy.weights[labels]).view_as(images)
    unit = uphill / uphill.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    far = images + 3 * truth.view(-1, 1, 1, 1) * unit
    short = shorten(estimator, far, images, labels, halvings=6)
    beyond = distances(short, images) - truth
    assert bool((beyond >= -1e-6).all())
    assert bool((beyond <= 3 * truth / 2**6 + 1e-6).all())


def test_shorten_leaves_alone_what_draws_decide() -> None:
    toy = Flickering()
    images = torch.full((4, 3, 4, 4), 0.5)
    found = (images - 0.4 * toy.weights.sign().view(3, 4, 4)).clamp(0, 1)
    streams = ExampleStreams(0, "paths", indices=range(4))
    estimator = Expectation(toy, lambda repeats: toy.space.sample_each(streams, repeats), 5)
    assert torch.equal(shorten(estimator, found, images, torch.zeros(4, dtype=torch.int64)), found)
