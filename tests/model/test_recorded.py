"""Recorded passes: padded to a few sizes, the same logits and gradients."""

from __future__ import annotations

import pytest
import torch

from rnabench.attack.estimators import Expectation
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.factory import build_model
from rnabench.model.recorded import RecordedPasses, recorded_passes
from rnabench.path.path import Path
from rnabench.seeding import ExampleStreams

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))]


def network(space: str, device: str) -> RandomizedClassifier:
    return build_model("resnet18", space, width=2).double().eval().to(device).requires_grad_(False)


def noise(count: int, seed: int, device: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, 16, 16, generator=generator, dtype=torch.float64).to(device)


def close(ours: object, theirs: object) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rows", [True, False], ids=["row each", "one row"])
@pytest.mark.parametrize("space", ["bn", "bn+in", "bgn2+gn2+ln"])
def test_the_same_logits_and_gradients_for_any_number_of_images(space: str, rows: bool, device: str) -> None:
    """All in one block, so that graphs are replayed, and images padded; paths and results stay the caller's own."""
    model, generator, kept = network(space, device), torch.Generator().manual_seed(0), []
    with recorded_passes(model):
        for turn, count in enumerate((8, 8, 3, 5, 1, 8, 11)):
            images = noise(count, turn, device).requires_grad_()
            path = model.space.sample(generator, count if rows else 1)
            path = Path(path.choices.to(device))
            logits = model.on(path)(images)
            (slope,) = torch.autograd.grad(logits.square().sum(), images)
            with torch.no_grad():
                without = model.on(path)(images)
            kept.append((images, path, str(path), logits, slope, without))
    for images, path, text, logits, slope, without in kept:
        expected = model.on(path)(images)
        close((logits.detach(), without), (expected.detach(), expected.detach()))
        close(slope, torch.autograd.grad(expected.square().sum(), images)[0])
        assert str(path) == text
    assert model.recorded is None


@pytest.mark.parametrize("device", DEVICES)
def test_several_backward_passes_and_forward_passes_between(device: str) -> None:
    """DeepFool's way and the sanity checks': one pass, the slopes of several losses; two passes, then both slopes."""
    model, images = network("bn+in", device), noise(4, 0, device).requires_grad_()
    paths = [model.space.sample(torch.Generator().manual_seed(seed)) for seed in (1, 2)]

    def slopes() -> list[torch.Tensor]:
        first = model.on(paths[0])(images)
        several = [torch.autograd.grad(first[:, k].sum(), images, retain_graph=True)[0] for k in range(3)]
        second, third = model.on(paths[1])(images[:2]), model.on(paths[0])(images)
        return several + [torch.autograd.grad(each.sum(), images)[0] for each in (third, second, first)]

    with recorded_passes(model):
        ours = slopes()
    close(ours, slopes())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("most", [1, 10**6], ids=["pass by pass", "at once"])
def test_estimators_see_no_difference(most: int, device: str) -> None:
    model, images, labels = network("bn+in", device), noise(6, 0, device), torch.arange(6, device=device)

    def estimates() -> list[object]:
        streams = ExampleStreams(0, "paths", indices=range(6), device=device)
        averaged = Expectation(model, lambda repeats: model.space.sample_each(streams, repeats), 3, most)
        rows = torch.tensor([4, 1], device=device)
        found = averaged.estimate(images, labels)
        others = (labels[rows, None] + torch.arange(1, 3, device=device)) % 10
        return [averaged.gradient(images, labels), found.loss, found.gradient, averaged.mean_logits(images),
                *averaged.gaps(images[rows], labels[rows], others, rows)]

    with recorded_passes(model):
        ours = estimates()
    close(ours, estimates())


def test_few_sizes_are_recorded() -> None:
    sizes: set[int] = set()

    def run(images: torch.Tensor, choices: torch.Tensor) -> torch.Tensor:
        sizes.add(len(images))
        return images.flatten(1)[:, :3] * 1

    passes = RecordedPasses(run, torch.device("cpu"))
    for count in range(64, 0, -1):
        images = torch.rand(count, 3, 2, 2)
        assert torch.equal(passes(images, torch.zeros(1, 2)), images.flatten(1)[:, :3])
    assert sizes == {8, 16, 32, 64}


@pytest.mark.parametrize(("space", "alone"), [("bn", True), ("bn+robust-running", True), ("bn-batch", False),
                                               ("bn+robust", False)])
def test_not_where_batch_mates_decide(space: str, alone: bool) -> None:
    """Padding would be a batch mate."""
    model = build_model("resnet18", space, width=2).eval()
    with recorded_passes(model):
        assert (model.recorded is not None) is alone
