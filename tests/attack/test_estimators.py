"""Estimators of gradient, loss and gaps: EOT finds the known mean, a path its own, and examples do not mix."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rnabench import build_model
from rnabench.attack.estimators import Estimator, Expectation, OnePath
from rnabench.path.path import Path
from rnabench.seeding import ExampleStreams, stream
from tests.attack.toys import IMAGES, LABELS, TwoPaths
from tests.helpers import lively_model


@pytest.mark.parametrize("granularity", ["batch", "sample"])
def test_eot_converges_to_the_mean_gradient(granularity: str) -> None:
    toy = TwoPaths()
    expected = (toy.gradient(IMAGES, 0) + toy.gradient(IMAGES, 1)) / 2
    errors = []
    for samples in (20, 4000):
        generator, streams = stream(0, "eot"), ExampleStreams(0, "eot", indices=range(5))

        def draw(repeats: int, generator: torch.Generator = generator, streams: ExampleStreams = streams) -> Path:
            return toy.space.sample_each(streams, repeats) if granularity == "sample" else toy.space.sample(generator)

        estimated = Expectation(toy, draw, samples, most_pixels=64).gradient(IMAGES, LABELS)
        errors.append(float((estimated.flatten(1) - expected).abs().max()))
        spread = float((toy.gradient(IMAGES, 0) - toy.gradient(IMAGES, 1)).abs().max()) / 2
        assert errors[-1] < 4 * spread / samples**0.5  # four standard errors of a fair coin
    assert errors[1] < errors[0]


def test_one_path_is_that_paths_gradient() -> None:
    toy = TwoPaths()
    for row in (0, 1):
        gradient = OnePath(toy, Path.of(row)).gradient(IMAGES, LABELS)
        torch.testing.assert_close(gradient.flatten(1), toy.gradient(IMAGES, row))


@pytest.mark.parametrize("drawn", [(1,), (0, 0, 1, 0, 1, 1)])
def test_an_estimate_is_the_mean_of_loss_of_wrong_draws_and_of_gradient_over_the_same_draws(
    drawn: tuple[int, ...]
) -> None:
    toy, following = TwoPaths(), iter(drawn)
    found = Expectation(toy, lambda repeats: Path.of(next(following)), len(drawn)).estimate(IMAGES, LABELS)
    margins = torch.stack([2 * IMAGES.flatten(1) @ toy.weights[row] for row in drawn])
    torch.testing.assert_close(found.loss, torch.log1p((-margins).exp()).mean(0))
    torch.testing.assert_close(found.wrong, (margins < 0).float().mean(0))
    gradients = torch.stack([toy.gradient(IMAGES, row) for row in drawn])
    torch.testing.assert_close(found.gradient.flatten(1), gradients.mean(0))


def test_the_gaps_are_the_differences_of_mean_logits_and_their_gradients() -> None:
    toy, rows = TwoPaths(), iter((0, 1, 1))
    values, slopes = Expectation(toy, lambda repeats: Path.of(next(rows)), 3).gaps(
        IMAGES, LABELS, torch.ones(5, 1, dtype=torch.int64))
    mean = toy.weights[[0, 1, 1]].mean(0)
    torch.testing.assert_close(values, (-2 * IMAGES.flatten(1) @ mean)[None])
    torch.testing.assert_close(slopes.flatten(2), (-2 * mean).expand(1, 5, 3))


@pytest.mark.parametrize("samples", [0, 1, 5])
@pytest.mark.parametrize("chosen", [[2], [3, 0], [4, 1, 1]])
def test_some_rows_of_a_batch_keep_the_paths_that_they_have_in_the_whole(samples: int, chosen: list[int]) -> None:
    model, rows = lively_model("bn+in"), torch.tensor(chosen)
    images, labels = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(5)

    def fresh() -> Estimator:
        streams = ExampleStreams(3, "paths", indices=range(5))
        if not samples:
            return OnePath(model, model.space.sample_each(streams))
        # so few pixels at once that the whole batch takes one draw per pass, and a part of it several
        return Expectation(model, lambda repeats: model.space.sample_each(streams, repeats), samples, 5 * 64)

    whole = fresh().gradient(images, labels)
    part = fresh().gradient(images[rows], labels[rows], rows=rows)
    torch.testing.assert_close(part, whole[rows], rtol=1e-4, atol=1e-6)
    all_of_them = fresh().estimate(images, labels, gradient=False)
    some = fresh().estimate(images[rows], labels[rows], rows=rows, gradient=False)
    torch.testing.assert_close(some.loss, all_of_them.loss[rows], rtol=1e-4, atol=1e-5)
    assert torch.equal(some.wrong, all_of_them.wrong[rows])


def test_per_example_gradients_do_not_mix() -> None:
    model = build_model("resnet18", "bn+in", width=2).double().eval()
    torch.nn.init.normal_(model.network[1].linear.weight)
    images, labels = torch.rand(3, 3, 32, 32, dtype=torch.float64), torch.tensor([0, 1, 2])
    estimator = OnePath(model, Path.of(*[1] * 20))
    together = estimator.gradient(images, labels)
    alone = torch.cat([estimator.gradient(images[k : k + 1], labels[k : k + 1]) for k in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-9)  # the loss itself is taken in float32


class Brightness:
    """Logits that depend on the mean pixel alone: autograd's gradient is one number, expanded to an image."""

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        factor = float(path.rows[0][0])
        return lambda images: factor * images.flatten(1).mean(1, keepdim=True) * torch.tensor([1.0, 2.0, 3.0])


def test_gradients_that_autograd_hands_back_expanded_are_summed_over_draws() -> None:
    images, labels = torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 2, 0])
    drawn = iter([1, 3])
    mean = Expectation(Brightness(), lambda repeats: Path.of(next(drawn)), 2, most_pixels=1).gradient(images, labels)
    each = [OnePath(Brightness(), Path.of(factor)).gradient(images, labels) for factor in (1, 3)]
    torch.testing.assert_close(mean, (each[0] + each[1]) / 2)
