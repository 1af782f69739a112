"""Smoothness, gradient similarity and eq. 5: exact where the Hessian is known, finite differences where it is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rnabench.attack.estimators import Expectation
from rnabench.model.factory import build_model
from rnabench.model.normalizers import build_norm
from rnabench.norm.choice import NormChoice
from rnabench.path.choice import choice_layers
from rnabench.seeding import stream
from rnabench.settings.architectures import ARCHITECTURES
from rnabench.settings.spaces import parse_space
from rnabench.studies.measure.norm_gradients import _differentiated, _terms, layer_terms
from rnabench.studies.measure.similarity import between_networks, by_difference, cosine
from rnabench.studies.measure.smoothness import (
    LossOf,
    along_gradient,
    mean_gradient,
    mean_loss,
    path_losses,
    surface,
    unit,
)
from rnabench.studies.measure.subject import at_rest
from tests.helpers import lively_model
from tests.studies.test_transfer import deployed, work

SHAPE = (3, 4, 4)
SIZE = math.prod(SHAPE)


def quadratic(seed: int = 0) -> tuple[LossOf, Tensor, Tensor]:
    """x' A x / 2 + b' x, with A symmetric."""
    generator = torch.Generator().manual_seed(seed)
    half = torch.randn(SIZE, SIZE, dtype=torch.float64, generator=generator)
    a, b = (half + half.T) / 2, torch.randn(SIZE, dtype=torch.float64, generator=generator)

    def loss(images: Tensor) -> Tensor:
        flat = images.flatten(1)
        return ((flat @ a) * flat).sum(1) / 2 + flat @ b
    return loss, a, b


def images(count: int, seed: int = 1) -> Tensor:
    return torch.rand(count, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_on_a_quadratic_every_number_is_exact() -> None:
    loss, a, b = quadratic()
    x = images(5)
    found = along_gradient([loss], x, [0.1, 0.5, 2.0])
    flat = x.flatten(1)
    gradient = flat @ a + b
    direction = gradient / gradient.norm(dim=1, keepdim=True)
    torch.testing.assert_close(found.gradient_norm, gradient.norm(dim=1))
    torch.testing.assert_close(found.curvature, ((direction @ a) * direction).sum(1))
    torch.testing.assert_close(found.finite, (direction @ a).norm(dim=1))  # the same for every length
    for place, length in enumerate([0.1, 0.5, 2.0]):
        expected = found.loss + length * found.gradient_norm + length**2 / 2 * found.curvature
        torch.testing.assert_close(found.losses[:, place], expected)


def test_effective_beta_is_at_most_the_largest_eigenvalue() -> None:
    loss, a, _ = quadratic(3)
    found = along_gradient([loss], images(6), [0.3])
    largest = torch.linalg.eigvalsh(a).abs().max()
    assert bool((found.curvature.abs() <= found.finite * (1 + 1e-9)).all())
    assert bool((found.finite <= largest * (1 + 1e-9)).all())


@pytest.mark.parametrize("space", ["bn+in", "gn2+ln", "bgn4"])
def test_curvature_of_a_network_is_the_finite_difference_in_float64(space: str) -> None:
    """Smooth activations: a ReLU network has no second derivative at its kinks."""
    model = lively_model(space).double()
    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.ReLU):
            model.set_submodule(name, torch.nn.Softplus())
    x, labels = torch.rand(4, 3, 8, 8, dtype=torch.float64), torch.arange(4)
    paths = [model.space.sample(torch.Generator().manual_seed(seed)) for seed in range(2)]
    with at_rest([model]):
        losses = double_losses(model, paths, labels)
        loss = mean_loss(losses)
        found = along_gradient(losses, x, [1e-6])
        gradient = slope(loss, x)
        direction, norm = unit(gradient)
        step = 1e-5
        ahead, behind = slope(loss, x + step * direction), slope(loss, x - step * direction)
    expected = ((ahead - behind) / (2 * step) * direction).flatten(1).sum(1)
    torch.testing.assert_close(found.curvature, expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(found.gradient_norm, norm)


def double_losses(model: torch.nn.Module, paths: list, labels: Tensor) -> list[LossOf]:  # type: ignore[type-arg]
    """`path_losses` without its step to float32."""
    views = [model.on(path) for path in paths]  # type: ignore[operator]
    return [lambda x, view=view: torch.nn.functional.cross_entropy(view(x), labels, reduction="none")
            for view in views]


def slope(loss: LossOf, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(loss(x).sum(), x)[0]


def test_where_there_is_no_gradient_there_is_no_direction() -> None:
    found = along_gradient([lambda x: (x.flatten(1) * 0).sum(1)], images(2), [0.1])
    assert found.gradient_norm.tolist() == [0, 0]
    assert bool(found.curvature.isnan().all())
    assert bool(found.losses.isnan().all())


def test_a_linear_loss_has_no_curvature() -> None:
    found = along_gradient([lambda x: x.flatten(1).sum(1)], images(2), [0.1, 1.0])
    assert found.curvature.tolist() == [0, 0]
    assert float(found.finite.abs().max()) < 1e-12


def test_the_mean_over_paths_is_the_estimators() -> None:
    model = lively_model()
    x, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
    paths = [model.space.sample(torch.Generator().manual_seed(seed)) for seed in range(5)]
    drawn = iter(paths)
    with at_rest([model]):
        ours = slope(mean_loss(path_losses(model, paths, labels)), x)
        theirs = Expectation(model, lambda repeats: next(drawn), 5).gradient(x, labels)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(mean_gradient(path_losses(model, paths, labels), x)[1], theirs)


def test_the_surface_at_the_origin_is_the_loss_and_along_its_axis_the_losses() -> None:
    loss, _, _ = quadratic()
    x = images(1)
    noise = torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    grid = surface(loss, x[0], 0.8, 9, noise, at_once=7)
    assert float(grid[4, 4]) == pytest.approx(float(loss(x)), rel=1e-12)
    along = along_gradient([loss], x, [0.2, 0.4, 0.6, 0.8])
    torch.testing.assert_close(grid[5:, 4], along.losses[0])
    # to first order the loss does not change across
    across = (grid[4, 5] - grid[4, 3]) / 2
    assert abs(float(across)) < 1e-9 * float(along.gradient_norm) + 1e-9


def test_a_networks_surface_at_the_origin_is_its_loss() -> None:
    model = lively_model()
    paths = [model.space.sample(torch.Generator().manual_seed(seed)) for seed in range(3)]
    image, label = torch.rand(1, 3, 8, 8), torch.tensor([3])
    with at_rest([model]):
        grid = surface(lambda x: mean_loss(path_losses(model, paths, label.expand(len(x))))(x), image[0], 0.5, 5,
                       torch.randn(3, 8, 8, generator=stream(0, "x")))
        expected = mean_loss(path_losses(model, paths, label))(image)
    assert float(grid[2, 2]) == pytest.approx(float(expected), rel=1e-5)


@given(st.integers(1, 2**20), st.floats(1e-30, 1e3), st.floats(1e-30, 1e3))
def test_cosine_knows_no_lengths(seed: int, one: float, other: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, 3, 5, 5, generator=generator), torch.randn(2, 3, 5, 5, generator=generator)
    assert cosine(first * one, first * other).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert cosine(first, -first * other).tolist() == pytest.approx([-1, -1], abs=1e-5)
    torch.testing.assert_close(cosine(first, second), torch.nn.functional.cosine_similarity(
        first.flatten(1).double(), second.flatten(1).double()), rtol=1e-6, atol=1e-9)


def test_independent_vectors_are_about_orthogonal() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(2000, 3072, generator=generator) for _ in range(2))
    found = cosine(first, second)
    assert abs(float(found.mean())) < 4 / math.sqrt(2000 * 3072)
    assert float(found.std()) == pytest.approx(1 / math.sqrt(3072), rel=0.1)


def test_no_direction_no_cosine() -> None:
    assert bool(cosine(torch.zeros(1, 4), torch.ones(1, 4)).isnan().all())


def test_similarity_is_symmetric_with_ones_on_the_diagonal() -> None:
    networks = [lively_model("bn+in"), lively_model("bn", seed=1)]
    with at_rest(networks):
        found = between_networks([deployed(networks[0], "a"), deployed(networks[1], "b")], 0, work())
    assert np.allclose(found, found.transpose(0, 2, 1))
    assert np.allclose(found[:, [0, 1], [0, 1]], 1)
    assert np.abs(found).max() <= 1


def test_gradients_on_the_same_path_are_the_same() -> None:
    model = lively_model("bn+in")
    with at_rest([model]):
        found = by_difference(deployed(model), 2, 0, work())
    assert found.shape == (12, 2, 7)
    assert np.allclose(found[:, :, 0], 1)
    assert found[:, :, 6].mean() < 1


@pytest.mark.parametrize(("arch", "width", "space"), [
    *((name, 16 if name == "resnet18" else 2, "bn+gn[2]") for name, each in ARCHITECTURES.items()
      if each.normalised and name != "resnet50"),
    ("resnet18", 4, "bn+in-plain")])
def test_equation_5_in_every_layer_of_a_network(arch: str, width: int, space: str) -> None:
    model = build_model(arch, space, 10, width=width).eval()
    path = model.space.sample(torch.Generator().manual_seed(4))
    x, labels = torch.rand(2, 3, 32, 32), torch.tensor([1, 2])
    with at_rest([model]):
        layers = layer_terms(model, path, x, labels)
    choices = [layer for layer in choice_layers(model).values() if isinstance(layer, NormChoice)]
    assert len(layers) == len(choices) + (arch == "wrn32")  # whose last normaliser is always BN
    for terms in layers.values():
        left = terms["scaled"] - terms["mean"] - terms["projection"]
        torch.testing.assert_close(left, terms["measured"], rtol=1e-4, atol=1e-12)
        assert bool((terms["mean"] >= 0).all())
        assert bool((terms["projection"] >= 0).all())


@pytest.mark.parametrize("space", ["robust", "robust-running-mean", "robust-running", "bn-batch", "mbn"])
def test_the_terms_of_other_normalisers_sum_up_too(space: str) -> None:
    model = build_model("resnet18", space, 10, width=4)
    model(torch.rand(8, 3, 32, 32))
    with at_rest([model.eval()]):
        layers = layer_terms(model, model.space.sample(torch.Generator()), torch.rand(3, 3, 32, 32), torch.arange(3))
    assert len(layers) == 20
    for terms in layers.values():
        left = terms["scaled"] - terms["mean"] - terms["projection"]
        torch.testing.assert_close(left, terms["measured"], rtol=1e-3, atol=1e-10)
        assert bool((terms["mean"].sum() >= 0).all())  # of the whole batch, a projection
        assert bool((terms["mean"] == 0).all()) == (space in ("robust-running-mean", "robust-running", "mbn"))


@pytest.mark.parametrize("label", ["bn", "bgn2", "in", "gn2", "ln", "in-plain"])
def test_equation_5_is_what_differentiation_says(label: str) -> None:
    norm = build_norm(parse_space(label).norms[0], 4).double()
    x, slope = torch.rand(2, 3, 4, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    norm(x)
    leaf = x.clone().requires_grad_()
    (behind,) = torch.autograd.grad(norm.eval()(leaf), leaf, slope)
    ours, expected = _terms(norm, x, slope, behind), _differentiated(norm, x, slope, behind)
    torch.testing.assert_close(dict(ours), dict(expected), rtol=1e-9, atol=1e-9)
