"""Attacks on randomly transformed inputs: without the transformation they are the attacks that they come from, and
what an image is shown through depends on itself alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from rnabench.attack.estimators import Expectation, OnePath
from rnabench.attack.input_draws import InputDraws
from rnabench.attack.threat import Linf
from rnabench.attack.whole_batch import InBatches, WholeBatch
from rnabench.data.images import ImageSet
from rnabench.errors import InvalidValue
from rnabench.path.path import Path
from rnabench.path.resizing import GREY, ResizeAndPad
from rnabench.seeding import ExampleStreams, stream
from rnabench.settings.attacks import parse_attack
from tests.attack.toys import noise, silence
from tests.helpers import lively_model, random_images, run_evaluation

PIXELS = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6)
GROW, SHRINK = ResizeAndPad(0.5, 1.4), ResizeAndPad(0.5, 0.6)


def attack(kind: str, **parameters: object) -> Any:
    return parse_attack({"kind": kind, "name": "tried", **parameters}).settled(16 / 255, 4 / 255)[0]


def estimators() -> list[Callable[[], Any]]:
    model = lively_model("bn+in")
    path = model.space.sample(stream(0, "path"))

    def expectation() -> Expectation:
        streams = ExampleStreams(0, "paths", indices=range(6))
        return Expectation(model, lambda repeats: model.space.sample_each(streams, repeats), 3)

    return [lambda: OnePath(model, path), expectation]


@pytest.mark.parametrize("estimator", estimators())
@pytest.mark.parametrize("mode", ["grow", "shrink"])
@pytest.mark.parametrize(("diverse", "plain"), [("difgsm", "bim"), ("midifgsm", "mifgsm"), ("dcw", "cw")])
def test_never_transformed_it_is_the_attack_that_it_comes_from(
        diverse: str, plain: str, mode: str, estimator: Callable[[], Any]) -> None:
    run = {"estimator": None, "images": PIXELS, "labels": LABELS, "uniform": silence, "threat": Linf(16 / 255)}
    first = attack(diverse, probability=0, mode=mode, steps=4).run(**run | {"estimator": estimator()})
    assert torch.equal(first, attack(plain, steps=4).run(**run | {"estimator": estimator()}))
    assert not torch.equal(first, PIXELS)


@pytest.mark.parametrize("estimator", estimators())
def test_without_momentum_both_step_alike(estimator: Callable[[], Any]) -> None:
    found = [attack(kind, steps=4, **more).run(estimator(), PIXELS, LABELS, noise(6), Linf(16 / 255))
             for kind, more in (("difgsm", {}), ("midifgsm", {"decay": 0}))]
    assert torch.equal(*found)
    assert not torch.equal(found[0], attack("bim", steps=4).run(estimator(), PIXELS, LABELS, silence, Linf(16 / 255)))


@given(st.integers(4, 40), st.integers(4, 40), st.floats(0.5, 2), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_a_resized_image_stands_whole_on_grey(height: int, width: int, scale: float, seed: int) -> None:
    """Each row of pixels of the result is the image's resized one, as torch resizes, and the rest is grey."""
    images = torch.rand(3, 2, height, width, generator=torch.Generator().manual_seed(seed)) + 2  # told from grey
    transform = ResizeAndPad(1.0, scale)
    least, most = transform.sizes(height)
    assert {least, most} == {height, max(1, round(scale * height))}
    seen = transform(images, ExampleStreams(seed, "t", indices=range(3)).uniform(4))
    assert seen.shape[2] == most
    for image, shown in zip(images, seen, strict=True):
        inside = (shown != GREY).all(0)
        rows, columns = inside.any(1), inside.any(0)
        tall, wide = int(rows.sum()), int(columns.sum())
        assert least <= tall <= most
        assert torch.equal(inside, rows[:, None] & columns)  # one rectangle ...
        assert int(rows.nonzero()[-1] - rows.nonzero()[0]) + 1 == tall  # ... without holes
        exact = [torch.arange(size) * before // size for size, before in ((tall, height), (wide, width))]
        assert torch.equal(shown[:, inside].view(2, tall, wide), image[:, exact[0]][:, :, exact[1]])
        assert (shown[:, ~inside] == GREY).all()


def test_resizing_is_torchs_nearest() -> None:
    images, transform = torch.rand(50, 1, 32, 32), ResizeAndPad(1.0, 1.104)
    drawn = ExampleStreams(1, "t", indices=range(50)).uniform(4)
    sizes = set()
    for image, shown in zip(images, transform(images, drawn), strict=True):
        size = int((shown[0] != GREY).any(0).sum())
        sizes.add(size)
        expected = F.interpolate(image[None], size=(size, size), mode="nearest")[0, 0]
        assert torch.equal(shown[0][shown[0] != GREY], expected[expected != GREY])
    assert sizes == {32, 33, 34, 35}


def seen_by(transform: ResizeAndPad, seed: int = 0, batch: int = 6) -> tuple[Any, InputDraws]:
    """A network that remembers what it was asked about, with mean brightnesses for logits."""
    asked: list[Tensor] = []

    class Watched:
        def on(self, path: Path) -> Callable[[Tensor], Tensor]:
            def view(images: Tensor) -> Tensor:
                asked.append(images.detach())
                return images.mean((2, 3))
            return view

    network = Watched()
    network.asked = asked  # type: ignore[attr-defined]
    return network, InputDraws(transform, noise(batch, seed), batch, torch.device("cpu"))


@pytest.mark.parametrize("transform", [GROW, SHRINK])
def test_the_share_that_is_transformed_its_sizes_and_its_gradient(transform: ResizeAndPad) -> None:
    network, look = seen_by(transform)
    images = PIXELS.clone().requires_grad_()
    changed = 0
    for _ in range(100):
        logits = look(network, Path(((),)), images, 1, None)
        changed += int((logits != images.mean((2, 3))).any(1).sum())
        (slope,) = torch.autograd.grad(logits.sum(), images)
        assert slope.isfinite().all()
        assert slope.flatten(1).any(1).all()  # every image is reached
    sides = {len(batch[0, 0]) for batch in network.asked}
    assert sides == ({8, 11} if transform is GROW else {8})
    expected = 0.5 if transform is GROW else 0.5 * 3 / 4  # of the sizes 5 to 8, the last changes nothing
    assert abs(changed / 600 - expected) < 0.08


@pytest.mark.parametrize("transform", [GROW, SHRINK])
def test_an_images_draws_do_not_depend_on_who_else_is_asked_about(transform: ResizeAndPad) -> None:
    together, apart = seen_by(transform), seen_by(transform)
    path = Path(((),))
    first = [together[1](together[0], path, PIXELS, 1, None) for _ in range(4)]
    alone = [apart[1](apart[0], path, PIXELS[2:3], 1, torch.tensor([2])) for _ in range(2)]
    others = apart[1](apart[0], path, torch.cat([PIXELS] * 2), 2, torch.arange(6))  # two draws at once
    assert all(torch.equal(alone[draw][0], first[draw][2]) for draw in range(2))
    assert all(torch.equal(others.view(2, 6, 3)[draw][2], first[2 + draw][2]) for draw in range(2))
    assert all(torch.equal(others.view(2, 6, 3)[draw][5], first[draw][5]) for draw in range(2))


@pytest.mark.parametrize("protocol", ["paper", "eot:3"])
@pytest.mark.parametrize("described", [
    {"kind": "difgsm", "steps": 3}, {"kind": "difgsm", "steps": 3, "mode": "shrink"}, {"kind": "midifgsm", "steps": 3}])
def test_outcomes_do_not_depend_on_the_batch_size(described: dict[str, Any], protocol: str) -> None:
    found = [run_evaluation(lively_model("bn+in"), attacks=[described | {"name": "tried"}], protocols=[protocol],
                            eps="16/255", batch_size=size, granularity="sample")[1].correct for size in (2, 5, 12)]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_a_deterministic_networks_smallest_change_does_not_depend_on_the_batch_size() -> None:
    model, images = lively_model("bn"), random_images()
    with torch.no_grad():
        pixels = torch.from_numpy(images.images).permute(0, 3, 1, 2) / 255
        labels = model.on(Path(((0,) * len(model.space.layers),)))(pixels).argmax(1).numpy()
    images = ImageSet(images.classes, images.images, labels, images.indices)
    found = [run_evaluation(model, images=images, attacks=[{"kind": "dcw", "name": "tried", "steps": 12, "lr": 0.05,
                                                            "c": 100.0}], batch_size=size)[1].distances
             for size in (2, 5, 12)]
    assert found[0] is not None
    assert (found[0] > 0).sum() > 6
    assert all(np.allclose(found[0], other, rtol=1e-3) for other in found[1:])


def test_batch_mates_stay_together() -> None:
    """Where predictions depend on batch mates a batch is transformed as a whole, or not at all."""
    network, look = seen_by(GROW)
    estimator = WholeBatch(OnePath(InBatches(network, 6), Path(((),))), PIXELS).through(look)
    for _ in range(8):
        list(estimator.forward(PIXELS[[4, 1]], torch.tensor([4, 1])))
    assert {len(batch) for batch in network.asked} == {6}
    assert {len(batch[0, 0]) for batch in network.asked} == {8, 11}


@pytest.mark.parametrize(("parameters", "words"), [
    ({"mode": "shrink", "scale": 1.2}, "at most 1 with shrink"), ({"scale": 0.8}, "at least 1 with mode grow"),
    ({"mode": "shrinks"}, "did you mean 'shrink'"), ({"probability": 1.5}, "at most 1"),
])
def test_bad_parameters_get_a_line(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        attack("difgsm", **parameters)
