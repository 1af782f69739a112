"""What is averaged over draws: losses, probabilities or logits, each as its formula says; and draws that are held."""

from __future__ import annotations

import pytest
import torch

from rnabench.attack.estimators import Estimator, Expectation, GivenPaths, OnePath
from rnabench.attack.losses import LOSSES
from rnabench.attack.whole_batch import InBatches, WholeBatch
from rnabench.path.path import Path
from rnabench.seeding import ExampleStreams
from rnabench.settings.protocols import Average
from tests.attack.toys import IMAGES, LABELS, TwoPaths
from tests.helpers import lively_model

AVERAGES: list[Average] = ["losses", "probabilities", "logits"]
BOTH = [Path.of(0), Path.of(1)]
PIXELS, CLASSES = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(5)
MODEL = lively_model("bn+in")


def by_hand(average: Average) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of label 0 and its gradient for the toy's two paths, logits (w x, -w x): closed forms."""
    x, weights = IMAGES.flatten(1), TwoPaths.weights
    right = torch.sigmoid(2 * x @ weights.T)  # [N, 2]
    if average == "losses":
        return -right.log().mean(1), -2 * (1 - right) @ weights / 2
    if average == "probabilities":
        return -right.mean(1).log(), -2 * (right * (1 - right)) @ weights / right.sum(1, keepdim=True)
    mean = weights.mean(0)
    right = torch.sigmoid(2 * x @ mean)
    return -right.log(), -2 * (1 - right)[:, None] * mean


@pytest.mark.parametrize("most_pixels", [1, 10**6])
@pytest.mark.parametrize("average", AVERAGES)
def test_each_average_over_all_paths_is_its_closed_form(average: Average, most_pixels: int) -> None:
    estimator = GivenPaths(TwoPaths(), BOTH, most_pixels, average)
    loss, gradient = by_hand(average)
    found = estimator.estimate(IMAGES, LABELS)
    torch.testing.assert_close(found.loss, loss)
    torch.testing.assert_close(found.gradient.flatten(1), gradient)
    torch.testing.assert_close(estimator.gradient(IMAGES, LABELS).flatten(1), gradient)
    # whatever is averaged, an image is right or wrong on a draw
    margins = IMAGES.flatten(1) @ TwoPaths.weights.T
    torch.testing.assert_close(found.wrong, (margins < 0).float().mean(1))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("average", AVERAGES[1:])
@pytest.mark.parametrize("copies", [1, 3])
def test_one_draw_or_draws_that_are_alike_leave_nothing_to_choose(loss: str, average: Average, copies: int) -> None:
    """A single sample, and a network without randomness: gradients, losses and gaps agree to rounding."""
    path = MODEL.space.sample(torch.Generator().manual_seed(2))
    usual, other = (GivenPaths(MODEL, [path] * copies, None, each) for each in ("losses", average))
    targets = (CLASSES[:, None] + torch.arange(1, 4)) % 10
    first, second = (each.estimate(PIXELS, CLASSES, LOSSES[loss]) for each in (usual, other))
    torch.testing.assert_close(second.gradient, first.gradient, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(second.loss, first.loss, rtol=1e-4, atol=1e-5)
    for one, two in zip(usual.gaps(PIXELS, CLASSES, targets), other.gaps(PIXELS, CLASSES, targets), strict=True):
        torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-4)
    assert torch.equal(usual.mean_logits(PIXELS).argmax(1), other.mean_logits(PIXELS).argmax(1))


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], [3, 1]])
def test_an_average_of_fresh_draws_is_that_of_the_same_draws_given(average: Average, rows: list[int]) -> None:
    """By image and in parts of a batch; however many draws go through the network at once."""
    def streams() -> ExampleStreams:
        return ExampleStreams(3, "paths", indices=range(5))

    places, one_by_one = torch.tensor(rows), streams()
    given = GivenPaths(MODEL, [MODEL.space.sample_each(one_by_one) for _ in range(3)], None, average)
    for most in (1, 2 * 5 * 64, 10**6):
        fresh = streams()
        drawn = Expectation(MODEL, lambda repeats, of=fresh: MODEL.space.sample_each(of, repeats), 3,  # type: ignore[misc]
                            most, average)
        torch.testing.assert_close(drawn.gradient(PIXELS[places], CLASSES[places], rows=places),
                                   given.gradient(PIXELS[places], CLASSES[places], rows=places), rtol=1e-3, atol=1e-5)


def estimators() -> list[Estimator]:
    """One path; draws for each image, and for a whole batch; and whole batches of a network whose images are mates."""
    mates, streams = lively_model("bn-batch+in"), ExampleStreams(3, "paths", indices=range(5))
    generator = torch.Generator().manual_seed(4)
    by_image = Expectation(MODEL, lambda repeats: MODEL.space.sample_each(streams, repeats), 3, 2 * 5 * 64)
    by_batch = Expectation(InBatches(mates, 5), lambda repeats: mates.space.sample(generator), 3)
    return [OnePath(MODEL, MODEL.space.sample(generator)), by_image, WholeBatch(by_batch, PIXELS)]


@pytest.mark.parametrize("number", range(3))
def test_held_draws_are_the_same_whenever_asked_and_the_mean_of_their_members(number: int) -> None:
    estimator = estimators()[number]
    held = estimator.held()
    first = held.estimate(PIXELS, CLASSES)
    again = held.estimate(PIXELS, CLASSES)
    assert torch.equal(first.loss, again.loss)
    assert torch.equal(first.gradient, again.gradient)
    assert not held.is_random
    assert held.samples == estimator.samples
    members = held.members()
    each = [member.estimate(PIXELS, CLASSES) for member in members]
    assert len(each) == held.samples
    torch.testing.assert_close(torch.stack([one.loss for one in each]).mean(0), first.loss, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.stack([one.gradient for one in each]).mean(0), first.gradient, rtol=1e-3,
                               atol=1e-5)
    fresh = estimator.held().estimate(PIXELS, CLASSES)
    assert torch.equal(fresh.loss, first.loss) is not estimator.is_random  # the next draws are others


def test_members_of_a_whole_batch_have_seen_the_same_images_last() -> None:
    estimator = estimators()[2]
    one, other = estimator.members()[:2]
    rows = torch.tensor([1])
    brighter = PIXELS[rows] * 0.5
    one.gradient(brighter, CLASSES[rows], rows=rows)
    assert isinstance(other, WholeBatch)
    assert torch.equal(other.last_seen[rows], brighter)
    assert torch.equal(other.last_seen[[0, 2, 3, 4]], PIXELS[[0, 2, 3, 4]])
