"""Square asks for outputs only, keeps what raises the margin, and is not fooled by lucky draws."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rnabench.attack.attack import Uniform
from rnabench.attack.estimators import Estimator, Expectation, OnePath
from rnabench.attack.losses import margin
from rnabench.attack.square import Square
from rnabench.attack.threat import Linf
from rnabench.path.path import Path
from rnabench.path.space import PathSpace
from rnabench.seeding import ExampleStreams, stream
from tests.helpers import lively_model

WEIGHTS = torch.randn(3 * 8 * 8, generator=torch.Generator().manual_seed(5))


class Noisy:
    """Two classes with logits ±(score + noise of the path); the score is `slope` w·x, the same on all paths.

    It counts the images that it is asked about, and answers without a gradient.
    """

    def __init__(self, slope: float, spread: float) -> None:
        self.slope, self.asked = slope, 0
        self.levels = spread * torch.linspace(-1, 1, 16)
        self.space = PathSpace(("only",), (tuple(map(str, range(16))),))

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        @torch.no_grad()
        def logits(images: Tensor) -> Tensor:
            self.asked += len(images)
            score = self.slope * (images.flatten(1) * WEIGHTS).sum(1) + self.levels[[row[0] for row in path.rows]]
            return torch.stack([score, -score], 1)

        return logits


def noise(count: int, seed: int = 0) -> Uniform:
    streams = ExampleStreams(seed, "start", indices=range(count))
    return lambda *shape: streams.uniform(*shape).float()


def random_images(count: int, size: int = 8, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def frozen(space: str = "bn") -> OnePath:
    model = lively_model(space)
    return OnePath(model, model.space.sample(torch.Generator().manual_seed(0)))


class WithoutGradients(OnePath):
    def __init__(self, inner: OnePath) -> None:
        super().__init__(inner.model, inner.path)
        self.view = torch.no_grad()(inner.view)


def test_asks_for_outputs_only() -> None:
    estimator, images = frozen(), random_images(4)
    labels = estimator.mean_logits(images).argmax(1)
    attack, threat = Square(queries=40), Linf(0.05)
    blind = attack.run(WithoutGradients(estimator), images, labels, noise(4), threat)
    assert torch.equal(blind, attack.run(estimator, images, labels, noise(4), threat))
    assert not torch.equal(blind, images)


@given(st.floats(0, 1), st.integers(1, 80), st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_stays_in_the_ball_and_in_the_unit_cube(eps: float, queries: int, height: int, width: int, seed: int) -> None:
    images = torch.rand(3, 2, height, width, generator=torch.Generator().manual_seed(seed)).round(decimals=1)

    class Toy:
        def on(self, path: Path) -> Callable[[Tensor], Tensor]:
            return lambda x: torch.stack([x.sum((1, 2, 3)) * 0 + 9, x.sum((1, 2, 3))], 1)

    labels = torch.zeros(3, dtype=torch.int64)
    found = Square(queries=queries).run(OnePath(Toy(), Path.of()), images, labels, noise(3, seed), Linf(eps))
    assert float((found - images).abs().max()) <= eps + 1e-6
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1


def test_the_same_random_numbers_give_the_same_images_and_others_give_others() -> None:
    estimator, images = frozen(), random_images(6)
    labels = estimator.mean_logits(images).argmax(1)
    runs = [Square(queries=70).run(estimator, images, labels, noise(6, seed), Linf(0.03)) for seed in (3, 3, 4)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize("samples", [0, 3])
def test_what_one_example_gets_does_not_depend_on_the_others(samples: int) -> None:
    model, images, labels = lively_model("bn+in"), random_images(6), torch.tensor([0, 1, 2, 3, 4, 5])

    def attacked(indices: list[int]) -> Tensor:
        numbers, paths = (ExampleStreams(0, name, indices=indices) for name in ("numbers", "paths"))
        draw = lambda repeats: model.space.sample_each(paths, repeats)  # noqa: E731
        estimator: Estimator = Expectation(model, draw, samples) if samples else OnePath(model, draw(1))
        return Square(queries=70).run(estimator, images[indices], labels[indices],
                                      lambda *shape: numbers.uniform(*shape).float(), Linf(0.05))

    together = attacked([0, 1, 2, 3, 4, 5])
    for part in ([4], [5, 0, 2]):
        assert torch.equal(attacked(part), together[part])


def test_the_margin_never_falls_below_the_stripes_start() -> None:
    estimator, images, eps = frozen(), random_images(16), 0.04
    labels = estimator.mean_logits(images).argmax(1)
    found = {queries: Square(queries=queries).run(estimator, images, labels, noise(16), Linf(eps))
             for queries in (1, 100)}
    stripes = torch.where(noise(16)(3, 1, 8) < 0.5, -eps, eps).expand_as(images)
    start = (images + stripes).clamp(0, 1)
    losses = [estimator.estimate(x, labels, margin, gradient=False).loss for x in (start, found[1], found[100])]
    assert bool((losses[1] >= losses[0]).all())
    assert bool((losses[2] >= losses[0]).all())
    assert float(losses[2].mean()) > float(losses[0].mean())


def test_on_a_linear_model_many_queries_come_close_to_the_best_corner() -> None:
    toy, images, labels = Noisy(1.0, 0.0), torch.full((4, 3, 8, 8), 0.5), torch.zeros(4, dtype=torch.int64)
    toy.levels += 1000  # never misclassified: all queries are made
    found = Square(queries=1500).run(OnePath(toy, Path.of(0)), images, labels, noise(4), Linf(0.1))
    fall = ((images - found).flatten(1) * WEIGHTS).sum(1)
    assert bool((fall > 0.8 * 0.1 * WEIGHTS.abs().sum()).all())


def test_a_deterministic_model_is_asked_once_per_query_and_a_misclassified_example_no_more() -> None:
    toy, images = Noisy(0.0, 0.0), random_images(5)
    toy.levels += 1.0  # class 0, whatever the image
    Square(queries=30).run(OnePath(toy, Path.of(0)), images, torch.tensor([0, 1, 0, 1, 1]), noise(5), Linf(0.1))
    assert toy.asked == 5 + 2 * 30


def test_a_lucky_draw_neither_stops_the_search_nor_is_kept() -> None:
    """The loss is noise of the draw alone: half of all draws are wrong, and no try is better than what it replaces."""
    toy, images, labels = Noisy(0.0, 1.0), random_images(5), torch.zeros(5, dtype=torch.int64)
    generator = stream(0, "paths")
    estimator = Expectation(toy, lambda repeats: toy.space.sample(generator), 40)
    found = Square(queries=30).run(estimator, images, labels, noise(5), Linf(0.1))
    assert toy.asked == 40 * (5 + 2 * 5 * 30)
    start = (images + torch.where(noise(5)(3, 1, 8) < 0.5, -0.1, 0.1)).clamp(0, 1)
    assert torch.equal(found, start)


def test_noise_that_all_images_share_does_not_change_what_is_kept() -> None:
    images, labels = random_images(5), torch.zeros(5, dtype=torch.int64)

    def attacked(spread: float) -> Tensor:
        toy, generator = Noisy(0.01, spread), stream(0, "paths")
        toy.levels += 1.0  # right without noise; with it some of 16 draws are right and some are wrong
        estimator = Expectation(toy, lambda repeats: toy.space.sample(generator), 16)
        return Square(queries=100).run(estimator, images, labels, noise(5), Linf(0.02))

    # rounding may decide a near tie
    assert float(((attacked(0.0) - attacked(50.0)).abs() < 1e-6).float().mean()) > 0.99


def test_under_draws_it_makes_more_fresh_draws_wrong() -> None:
    model, images, generator = lively_model("bn+in"), random_images(16), stream(0, "paths")
    estimator = Expectation(model, lambda repeats: model.space.sample(generator), 8)
    labels = Expectation(model, lambda repeats: model.space.sample(generator), 200).mean_logits(images).argmax(1)
    found = Square(queries=60).run(estimator, images, labels, noise(16), Linf(0.1))
    fresh = [float(estimator.wrong(x, labels, at_least=200).mean()) for x in (images, found)]
    assert fresh[1] > fresh[0] + 0.05


@pytest.mark.parametrize("space", ["bn", "bn+in"])
def test_when_broken_images_are_left_out_changes_no_image(space: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is seldom asked which they are; until then they stay as they are."""
    model, images = lively_model(space), random_images(12)
    path = model.space.sample(torch.Generator().manual_seed(0))
    labels = model.on(path)(images).argmax(1)

    def attacked(compact: int) -> Tensor:
        monkeypatch.setattr("rnabench.attack.square.COMPACT", compact)
        draws = ExampleStreams(0, "path", indices=range(12))
        estimator: Estimator = OnePath(model, path) if space == "bn" else Expectation(
            model, lambda repeats: model.space.sample_each(draws, repeats), 3)
        return Square(queries=40).run(estimator, images, labels, noise(12), Linf(0.2))  # breaks some of them

    assert torch.equal(attacked(8), attacked(1))
