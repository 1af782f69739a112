"""torch.func, forward mode and torch.export go through a randomised network on a fixed path, as through a plain one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.nn import functional as F

from rnabench.model.classifier import FixedPath
from tests.helpers import lively_model

GENERATOR = torch.Generator().manual_seed(0)
IMAGES, DIRECTION = (torch.rand(4, 3, 8, 8, dtype=torch.float64, generator=GENERATOR) for _ in range(2))
LABELS = torch.arange(4)
SPACES = ["bn+in", "gn2+bgn2+ln"]
each_view = pytest.mark.parametrize(("space", "rows"), [(space, rows) for space in SPACES for rows in (1, 4)])


def fixed(space: str, rows: int = 1, layers: int = 3) -> FixedPath:
    model = lively_model(space, layers).double()
    return model.on(model.space.sample(torch.Generator().manual_seed(2), rows))


def close(first: Any, second: Any) -> None:
    torch.testing.assert_close(first, second, rtol=1e-8, atol=1e-10)


@each_view
def test_jvp_is_what_reverse_mode_says(space: str, rows: int) -> None:
    """<u, J d> = <J' u, d> for the images; for the parameters likewise."""
    view = fixed(space, rows)
    logits, tangent = jvp(view, (IMAGES,), (DIRECTION,))
    weights = torch.randn(logits.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    leaf = IMAGES.clone().requires_grad_()
    (slope,) = torch.autograd.grad((view(leaf) * weights).sum(), leaf)
    close((tangent * weights).sum(), (slope * DIRECTION).sum())

    parameters = dict(view.named_parameters())
    directions = {name: torch.randn(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(3))
                  for name, p in parameters.items()}
    _, tangent = jvp(lambda named: functional_call(view, named, (IMAGES,)), (parameters,), (directions,))
    slopes = torch.autograd.grad((view(IMAGES) * weights).sum(), list(parameters.values()), allow_unused=True)
    expected = sum((slope * directions[name]).sum() for name, slope in zip(parameters, slopes, strict=True)
                   if slope is not None)
    close((tangent * weights).sum(), expected)


@each_view
def test_jvp_is_the_slope_of_finite_differences(space: str, rows: int) -> None:
    view, step = fixed(space, rows), 1e-7
    _, tangent = jvp(view, (IMAGES,), (DIRECTION,))
    with torch.no_grad():
        slope = (view(IMAGES + step * DIRECTION) - view(IMAGES - step * DIRECTION)) / (2 * step)
    torch.testing.assert_close(tangent, slope, rtol=1e-4, atol=1e-5)
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(view(forward_ad.make_dual(IMAGES, DIRECTION)))
        close(dual.tangent, tangent)


@each_view
def test_four_ways_to_a_hessian_vector_product(space: str, rows: int) -> None:
    view = fixed(space, rows)

    def loss(images: Tensor) -> Tensor:
        return F.cross_entropy(view(images), LABELS, reduction="sum")

    leaf = IMAGES.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
    (expected,) = torch.autograd.grad((slope * DIRECTION).sum(), leaf)
    assert expected.abs().max() > 0
    close(grad(lambda images: (grad(loss)(images) * DIRECTION).sum())(IMAGES), expected)
    close(jvp(grad(loss), (IMAGES,), (DIRECTION,))[1], expected)
    close(grad(lambda images: jvp(loss, (images,), (DIRECTION,))[1])(IMAGES), expected)
    twice = jvp(lambda images: jvp(loss, (images,), (DIRECTION,))[1], (IMAGES,), (DIRECTION,))[1]
    close(twice, (expected * DIRECTION).sum())


@each_view
def test_vmap_is_a_loop(space: str, rows: int) -> None:
    view = fixed(space, rows)
    many = torch.rand(3, *IMAGES.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))

    def slope(images: Tensor) -> Tensor:
        return grad(lambda inner: view(inner).square().sum())(images)

    def along(direction: Tensor) -> Tensor:
        return jvp(view, (IMAGES,), (direction,))[1]

    for function in (view, slope, along):
        close(vmap(function)(many), torch.stack([function(images) for images in many]))


@pytest.mark.parametrize("space", SPACES)
def test_gradients_of_each_example(space: str) -> None:
    view = fixed(space)
    parameters = {name: parameter.detach() for name, parameter in view.named_parameters()}

    def loss(named: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(view, named, (image[None],)), label[None])

    together = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, IMAGES, LABELS)
    for k in range(4):
        view.zero_grad()
        F.cross_entropy(view(IMAGES[k : k + 1]), LABELS[k : k + 1]).backward()
        for name, parameter in view.named_parameters():
            close(together[name][k], torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)


def test_jacobians_and_hessian() -> None:
    view, image = fixed("bn+in"), IMAGES[:1, :, :4, :4]
    close(jacfwd(view)(image), jacrev(view)(image))

    def loss(images: Tensor) -> Tensor:
        return view(images).square().sum()

    close(hessian(loss)(image), torch.autograd.functional.hessian(loss, image))


@pytest.mark.parametrize(("rows", "strict"), [(1, False), (4, False), (1, True)])
@pytest.mark.filterwarnings("ignore:While compiling")  # strict mode saw a path being set; it is taken back
def test_exported_is_the_same_function(rows: int, strict: bool) -> None:
    view = fixed("bn+in", rows, layers=2)
    exported = torch.export.export(view, (IMAGES,), strict=strict).module()
    other = IMAGES.flip(0)
    close(exported(other), view(other))
    assert len({float(view.classifier(IMAGES).detach()[0, 0]) for _ in range(20)}) > 1  # it still draws


def test_a_view_compiles_as_a_whole() -> None:
    view = fixed("bn+in", layers=2)
    compiled = torch.compile(view, backend="aot_eager", fullgraph=True)  # no branch on a tensor's value
    close(compiled(IMAGES), view(IMAGES))
