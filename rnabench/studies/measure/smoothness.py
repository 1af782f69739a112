"""Smoothness of the loss over input space (Figure 2, eq. 6), for any loss that is a function of the images alone, and
for the losses of networks on some of their paths."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rnabench.attack.estimators import OnPath
from rnabench.attack.losses import cross_entropy
from rnabench.attack.resumable import Kept, resumable
from rnabench.data.batches import Batch
from rnabench.defence.foreign import Classifier
from rnabench.path.path import Path
from rnabench.seeding import stream
from rnabench.studies.measure.subject import Networks, subjects
from rnabench.studies.measure.work import Arrays, OnBatch, Work

LossOf = Callable[[Tensor], Tensor]
"""Images [N, C, H, W] to the loss of each [N]; twice differentiable. No image has a part in another's loss; but where
predictions depend on batch mates, all images of a batch move at once, and gradients are of the batch's summed loss."""


def path_losses(model: OnPath, paths: Sequence[Path], labels: Tensor) -> list[LossOf]:
    """The cross-entropy on each of some one-row paths. What follows looks at the mean of such losses, one at a time, so
    that memory holds the graph of a single path."""
    def on(path: Path) -> LossOf:
        view = model.on(path)
        return lambda images: cross_entropy(view(images).float(), labels)
    return [on(path) for path in paths]


def mean_loss(losses: Sequence[LossOf]) -> LossOf:
    """The mean of losses of the same images."""
    return lambda images: torch.stack([loss(images) for loss in losses]).mean(0)


def mean_gradient(losses: Sequence[LossOf], images: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of the losses [N] and of their gradients [N, C, H, W]."""
    values, total = None, None
    with torch.enable_grad():
        for loss in losses:
            images = images.detach().requires_grad_()
            value = loss(images)
            (slope,) = torch.autograd.grad(value.sum(), images)
            values = value.detach() if values is None else values + value.detach()
            total = slope if total is None else total + slope
    assert values is not None
    assert total is not None
    return values / len(losses), total / len(losses)


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


def along_gradient(losses: Sequence[LossOf], images: Tensor, lengths: Sequence[float]) -> AlongGradient:
    """Of the mean of the losses, at the lengths (Euclidean, in pixel units) that are given; pixels are not kept in
    [0, 1] on the way."""
    values, gradient = mean_gradient(losses, images)
    direction, norm = unit(gradient)
    product = torch.stack([_hessian_product(loss, images, direction) for loss in losses]).mean(0)
    there, steepest = [], torch.zeros_like(norm)
    for length in lengths:
        value, slope = mean_gradient(losses, images.detach() + length * direction)
        there.append(value)
        steepest = torch.maximum(steepest, (slope - gradient).flatten(1).norm(dim=1) / length)
    nowhere = torch.where(norm == 0, torch.nan, 0.0)
    return AlongGradient(values, norm, (product * direction).flatten(1).sum(1) + nowhere, steepest + nowhere,
                         torch.stack(there, 1) + nowhere[:, None])


def _hessian_product(loss: LossOf, images: Tensor, direction: Tensor) -> Tensor:
    """H d for each image, by differentiating the gradient's part along d."""
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss(images).sum(), images, create_graph=True)
        if not gradient.requires_grad:  # of a linear loss it does not depend on the images
            return torch.zeros_like(images, requires_grad=False)
        (product,) = torch.autograd.grad((gradient * direction).sum(), images, allow_unused=True)
    return torch.zeros_like(direction) if product is None else product


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
    along, _ = unit(mean_gradient([loss], image[None])[1])
    across, _ = unit(noise[None] - (noise[None] * along).sum() * along)
    steps = torch.linspace(-radius, radius, points, dtype=image.dtype, device=image.device)
    steps[points // 2] = 0  # exactly
    grid = torch.cartesian_prod(steps, steps)
    found = Kept(losses=[])
    with torch.no_grad():
        for piece in resumable(torch.split(grid, at_once), found):
            a, b = piece[:, 0].view(-1, 1, 1, 1), piece[:, 1].view(-1, 1, 1, 1)
            found.losses.append(loss(image[None] + a * along + b * across))
    return torch.cat(found.losses).view(points, points)


def longest_change(norm: str, eps: float, images: Tensor) -> float:
    """The Euclidean length of the longest change within `eps` of the norm, of images [N, C, H, W]."""
    return eps * (math.sqrt(images[0].numel()) if norm == "Linf" else 1.0)


@dataclass(frozen=True)
class Viewed:
    """A network on some of its one-row `paths`, whose mean loss is looked at; `single`: on just one, that it is held
    on."""

    label: str
    model: Classifier
    paths: list[Path]
    single: bool

    def along(self, lengths: Sequence[float]) -> OnBatch:
        """What `along_gradient` measures of every image, by name."""
        def on_batch(batch: Batch, first: int) -> Arrays:
            measured = along_gradient(path_losses(self.model, self.paths, batch.labels), batch.images, lengths)
            return {name: value.double().cpu().numpy() for name, value in vars(measured).items()}
        return on_batch

    def surface_at(self, batch: Batch, number: int, radius: float, points: int, seed: int, work: Work
                   ) -> list[list[float]]:
        """The loss surface around the one image of `batch`, image `number` of those that are worked on; where
        predictions depend on batch mates, among those of its batch, which stay as they are."""
        image, index = batch.images[0], batch.indices[0]
        noise = torch.randn(image.shape, generator=stream(seed, "surface", index)).to(image)

        whole = next(work.source.in_order(work.batch_size, start=number // work.batch_size)
                     ) if self.model.batch_dependent else None
        place = number % work.batch_size

        def loss(images: Tensor) -> Tensor:
            if whole is None:
                return mean_loss(path_losses(self.model, self.paths, batch.labels.expand(len(images))))(images)
            of_batch, mates = mean_loss(path_losses(self.model, self.paths, whole.labels)), whole.images
            return torch.stack([of_batch(torch.cat([mates[:place], each[None], mates[place + 1 :]]))[place]
                                for each in images])

        def compute() -> Arrays:
            return {"losses": surface(loss, image, radius, points, noise).double().cpu().numpy()}
        losses = work.once(f"surface of {self.label} at image {index}", compute)["losses"]
        return [[float(f"{value:.6g}") for value in row] for row in losses]


def views(networks: Networks, paths: str, samples: int, seed: int) -> list[Viewed]:
    """Fixed paths one by one (as `paths` splits randomised networks), and each randomised network's mean over
    `samples` paths."""
    found = []
    for label, model in networks:
        if paths != "deployed" or not model.space.is_random:
            found += [Viewed(subject.label, model, [subject.fixed()], True)
                      for subject in subjects([(label, model)], paths, seed)]
        if model.space.is_random:
            generator = stream(seed, "mean over paths")
            drawn = [model.space.sample(generator) for _ in range(samples)]
            found.append(Viewed(f"{label}: mean of {samples} paths", model, drawn, False))
    return found
