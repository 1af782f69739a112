"""Recorded passes: padded to a few sizes, the same logits and gradients."""

from __future__ import annotations

import pytest
import torch

from rnabench.model.factory import build_model
from rnabench.model.recorded import RecordedPasses, recorded_passes

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rows", [True, False], ids=["row each", "one row"])
@pytest.mark.parametrize("space", ["bn", "bn+in", "bgn2+gn2+ln"])
def test_the_same_logits_and_gradients_for_any_number_of_images(space: str, rows: bool, device: str) -> None:
    model = build_model("resnet18", space, width=2).double().eval().to(device).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for count in (8, 8, 3, 5, 1, 11):
        images = torch.rand(count, 3, 16, 16, generator=generator, dtype=torch.float64).to(device).requires_grad_()
        view = model.on(model.space.sample(generator, count if rows else 1))
        expected = view(images)
        (slope,) = torch.autograd.grad(expected.square().sum(), images)
        with recorded_passes(model):
            logits = view(images)
            (ours,) = torch.autograd.grad(logits.square().sum(), images)
            torch.testing.assert_close(ours, slope, rtol=1e-9, atol=1e-12)
            with torch.no_grad():
                torch.testing.assert_close(view(images), expected.detach(), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-12)
        assert model.recorded is None


def test_few_sizes_are_recorded() -> None:
    sizes: set[int] = set()

    def run(images: torch.Tensor, choices: torch.Tensor) -> torch.Tensor:
        sizes.add(len(images))
        return images.flatten(1)[:, :3]

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
