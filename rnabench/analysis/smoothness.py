"""Smoothness of the loss over input space (Figure 2, eq. 6), for any loss that is a function of the images alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rnabench.attack.estimators import OnPath
from rnabench.attack.losses import cross_entropy
from rnabench.path.path import Path

LossOf = Callable[[Tensor], Tensor]
"""Images [N, C, H, W] to the loss of each [N]; twice differentiable, and no image has a part in another's loss."""


def mean_loss(model: OnPath, paths: Sequence[Path], labels: Tensor) -> LossOf:
    """The cross-entropy, averaged over fixed one-row paths."""
    views = [model.on(path) for path in paths]

    def loss(images: Tensor) -> Tensor:
        total = cross_entropy(views[0](images).float(), labels)
        for view in views[1:]:
            total = total + cross_entropy(view(images).float(), labels)
        return total / len(views)
    return loss


@dataclass(frozen=True)
class AlongGradient:
    """[N] each, but `losses` [N, T]: what the loss does from each image on in the direction d = g / |g| of its
    gradient.

    `loss`: at the image. `gradient_norm`: |g|, Euclidean, per unit of pixel value. `curvature`: d' H d with the
    Hessian H at the image (eq. 6, effective beta-smoothness). `finite`: the largest |grad(x + t d) - g| / t over the
    lengths t. `losses`: at x + t d. Where the gradient is zero there is no direction: curvature, finite and losses are
    NaN.
    """

    loss: Tensor
    gradient_norm: Tensor
    curvature: Tensor
    finite: Tensor
    losses: Tensor


def along_gradient(loss: LossOf, images: Tensor, lengths: Sequence[float]) -> AlongGradient:
    """Looks at the lengths (Euclidean, in pixel units) that are given; pixels are not kept in [0, 1] on the way."""
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        values = loss(images)
        (gradient,) = torch.autograd.grad(values.sum(), images, create_graph=True)
        start = gradient.detach()
        direction, norm = unit(start)
        # a loss that is linear has no second derivative: its gradient does not depend on the images
        product = torch.zeros_like(start)
        if gradient.requires_grad:
            (found,) = torch.autograd.grad((gradient * direction).sum(), images, allow_unused=True)
            product = product if found is None else found
        del gradient
        losses, steepest = [], torch.zeros_like(norm)
        for length in lengths:
            there = (images.detach() + length * direction).requires_grad_()
            value = loss(there)
            (slope,) = torch.autograd.grad(value.sum(), there)
            losses.append(value.detach())
            steepest = torch.maximum(steepest, (slope - start).flatten(1).norm(dim=1) / length)
    nowhere = torch.where(norm == 0, torch.nan, 0.0)
    return AlongGradient(values.detach(), norm, (product * direction).flatten(1).sum(1) + nowhere, steepest + nowhere,
                         torch.stack(losses, 1) + nowhere[:, None])


def unit(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Each of the vectors [N, ...] at length 1 (zero where it is zero), and its Euclidean norm [N]."""
    shape = (-1, *[1] * (vectors.dim() - 1))
    largest = vectors.flatten(1).abs().amax(1)  # the squares of tiny gradients vanish
    scaled = vectors / torch.where(largest == 0, 1.0, largest).view(shape)
    norm = scaled.flatten(1).norm(dim=1)
    return scaled / torch.where(norm == 0, 1.0, norm).view(shape), norm * largest


def surface(loss: LossOf, image: Tensor, radius: float, points: int, noise: Tensor, at_once: int = 64) -> Tensor:
    """The loss [points, points] at image + a d + b r, with a (first axis) and b from -radius to radius.

    `image` [C, H, W]; d is the direction of the loss's gradient there, r the part of `noise` [C, H, W] that is
    orthogonal to it, at length 1. `loss` is of this one image, copied [N, C, H, W] times. Pixels are not kept in [0,
    1].
    """
    start = image.detach()[None].requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss(start).sum(), start)
    along, _ = unit(gradient)
    across, _ = unit(noise[None] - (noise[None] * along).sum() * along)
    steps = torch.linspace(-radius, radius, points, dtype=image.dtype, device=image.device)
    steps[points // 2] = 0  # exactly
    grid = torch.cartesian_prod(steps, steps)
    found = []
    with torch.no_grad():
        for piece in torch.split(grid, at_once):
            a, b = piece[:, 0].view(-1, 1, 1, 1), piece[:, 1].view(-1, 1, 1, 1)
            found.append(loss(image[None] + a * along + b * across))
    return torch.cat(found).view(points, points)
