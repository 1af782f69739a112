"""Whole batches: the same answers where images are predicted alone, else no batch but the one that they are in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st
from torch import Tensor

from rnabench.attack.attack import Attack, ready
from rnabench.attack.estimators import Estimator, Expectation, OnePath, OnPath
from rnabench.attack.losses import cross_entropy, margin
from rnabench.attack.whole_batch import InBatches, WholeBatch
from rnabench.errors import InvalidValue
from rnabench.path.path import Path
from rnabench.seeding import ExampleStreams
from rnabench.settings.attacks import parse_attack
from tests.attack.toys import noise
from tests.helpers import lively_model

IMAGES = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1)).to(memory_format=torch.channels_last)
LABELS = torch.arange(5)
ALONE, TOGETHER = lively_model("bn+in"), lively_model("bn-batch+robust")
EXACT = lively_model("bn+in").double()  # another batch rounds otherwise, which in float32 may turn a ReLU off


class Contrast:
    """Logits of two classes: by how much an image is brighter than the mean of its batch, squared; a single path. The
    sizes of the batches that it sees are kept."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        def logits_of(images: Tensor) -> Tensor:
            self.sizes.append(len(images))
            brightness = images.flatten(1).mean(1)
            score = brightness + (brightness - brightness.mean()).square()
            return torch.stack([score, -score], 1)

        return logits_of


def asked(model: OnPath, samples: int, by_image: bool, whole: bool, most_pixels: int | None = None,
          images: torch.Tensor = IMAGES) -> Estimator:
    """An estimator on draws that are always the same: one frozen path (no samples), or the mean over some."""
    network = InBatches(model, len(IMAGES)) if whole else model
    streams = ExampleStreams(3, "paths", indices=range(5) if by_image else [0])
    estimator: Estimator = OnePath(network, ALONE.space.sample_each(streams)) if not samples else Expectation(
        network, lambda repeats: ALONE.space.sample_each(streams, repeats if by_image else 1), samples, most_pixels)
    return WholeBatch(estimator, images) if whole else estimator


@bounded(max_examples=15)
@given(rows=st.lists(st.integers(0, 4), min_size=1, max_size=7), samples=st.sampled_from([0, 1, 3]),
       by_image=st.booleans(), seed=st.integers(0, 100))
def test_where_images_are_predicted_alone_nothing_changes(rows: list[int], samples: int, by_image: bool, seed: int
                                                          ) -> None:
    """For any rows, repeated or not, and images that are not those of the batch."""
    places, batch = torch.tensor(rows), IMAGES.double()
    images = torch.rand(len(rows), 3, 8, 8, generator=torch.Generator().manual_seed(seed)).double()
    plain, whole = (asked(EXACT, samples, by_image, each, images=batch).estimate(
        images, LABELS[places], margin, places) for each in (False, True))
    torch.testing.assert_close(whole.gradient, plain.gradient, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(whole.loss, plain.loss, rtol=1e-4, atol=1e-5)
    everything = [asked(EXACT, samples, by_image, each, images=batch).gradient(batch, LABELS)
                  for each in (False, True)]
    torch.testing.assert_close(everything[1], everything[0], rtol=1e-3, atol=1e-5)


@bounded(max_examples=30)
@given(rows=st.lists(st.integers(0, 4), min_size=1, max_size=9))
def test_images_are_asked_about_among_the_others_as_last_seen(rows: list[int]) -> None:
    """Every answer is that of a whole batch by hand: a row's first image in one, its second in another."""
    contrast = Contrast()
    network = WholeBatch(OnePath(InBatches(contrast, 5), Path(((),))), IMAGES)
    generator = torch.Generator().manual_seed(len(rows))
    for _ in range(2):
        before, images = network.last_seen, torch.rand(len(rows), 3, 8, 8, generator=generator)
        (logits,) = network.forward(images, torch.tensor(rows))
        for k, row in enumerate(rows):
            turn = rows[:k].count(row)
            batch = before.clone()
            for place, other in enumerate(rows):
                if rows[:place].count(other) == turn:
                    batch[other] = images[place]
            expected = Contrast().on(Path(((),)))(batch)[row]
            torch.testing.assert_close(logits[0, k], expected)
        for row in set(rows):
            assert torch.equal(network.last_seen[row], images[rows.index(row)])
    assert set(contrast.sizes) == {5}


def test_a_gradient_is_that_of_the_summed_loss_of_the_batch() -> None:
    """What an image does to its mates' losses is in it."""
    model, path = TOGETHER, Path.of(0, 1, 0, 1, 0, 1)
    found = WholeBatch(OnePath(InBatches(model, 5), path), IMAGES).gradient(IMAGES, LABELS)
    images = IMAGES.clone().requires_grad_()
    losses = cross_entropy(model.on(path)(images), LABELS)
    (summed,) = torch.autograd.grad(losses.sum(), images, retain_graph=True)
    assert torch.equal(found, summed)
    own = torch.stack([torch.autograd.grad(loss, images, retain_graph=True)[0][row] for row, loss in enumerate(losses)])
    assert not torch.allclose(own, summed, rtol=1e-2)


@pytest.mark.parametrize("by_image", [False, True])
def test_draws_that_are_averaged_are_no_batch_mates(by_image: bool) -> None:
    """Also where several go into one question: each is the whole batch's, on its own path."""
    found = asked(TOGETHER, 3, by_image, True, most_pixels=10**6).gradient(IMAGES, LABELS)
    streams = ExampleStreams(3, "paths", indices=range(5) if by_image else [0])
    one_by_one = [OnePath(TOGETHER, TOGETHER.space.sample_each(streams)).gradient(IMAGES, LABELS) for _ in range(3)]
    torch.testing.assert_close(found, torch.stack(one_by_one).mean(0), rtol=1e-4, atol=1e-6)


SHORT: list[dict[str, object]] = [  # attacks that go on with some of a batch
    {"kind": "pgd", "steps": 3, "restarts": 2}, {"kind": "apgd", "steps": 4, "restarts": 2},
    {"kind": "apgd", "steps": 3, "loss": "t", "targets": 2}, {"kind": "square", "queries": 20},
    {"kind": "deepfool", "steps": 4}, {"kind": "cw", "steps": 12, "searches": 1}, {"kind": "dag", "steps": 4}]


@pytest.mark.parametrize("settings", SHORT, ids=str)
@pytest.mark.parametrize("samples", [0, 2])
def test_attacks_show_the_network_whole_batches_only(settings: dict[str, object], samples: int) -> None:
    sizes = []

    class Spy:
        def on(self, path: Path) -> Callable[[Tensor], Tensor]:
            def logits_of(images: Tensor) -> Tensor:
                sizes.append(len(images))
                return TOGETHER.on(path)(images)  # type: ignore[no-any-return]

            return logits_of

    attack, threat = ready(parse_attack({"name": "short", **settings}), "Linf", 8 / 255, 2 / 255)
    assert isinstance(attack, Attack)
    labels = TOGETHER.on(Path.of(*[0] * 6))(IMAGES).argmax(1)
    labels[0] = (labels[0] + 1) % 10  # one drops out at once
    found = attack.run(asked(Spy(), samples, False, True), IMAGES, labels, noise(5), threat)
    assert found.shape == IMAGES.shape
    assert set(sizes) == {5}


def test_some_images_without_their_places_are_refused() -> None:
    with pytest.raises(InvalidValue, match="rows: missing; expected the places of these 2 images in their batch of 5"):
        asked(TOGETHER, 0, False, True).gradient(IMAGES[:2], LABELS[:2])
