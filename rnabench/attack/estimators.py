"""Gradient estimators: how an attacker deals with a model that draws a path in every forward.

A classifier, here, is anything with `on(path)` -> (images -> logits). Estimators take the paths from a function
`draw(repeats)`, so that they know neither the space of paths nor the granularity of draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnabench.path.path import Path

DrawPath = Callable[[int], Path]
"""repeats -> a path for a batch that holds every example `repeats` times (one row, or repeats x N rows)."""


class OnPath(Protocol):
    """What attacks see of a model."""

    def on(self, path: Path) -> Callable[[Tensor], Tensor]: ...


@contextmanager
def frozen_parameters(model: nn.Module) -> Iterator[None]:
    """No parameter asks for a gradient inside the block: attacks cost no weight gradients and leave none behind."""
    asking = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in asking:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)


def input_gradient(logits_of: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> Tensor:
    """The gradient of each example's cross-entropy with respect to its image."""
    images = images.detach().requires_grad_()
    loss = F.cross_entropy(logits_of(images).float(), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, images)
    return gradient


def one_path(model: OnPath, path: Path) -> Callable[[Tensor, Tensor], Tensor]:
    """The paper's attacker: one path, frozen for the whole attack."""
    view = model.on(path)
    return lambda images, labels: input_gradient(view, images, labels)


def expectation(
    model: OnPath, draw: DrawPath, samples: int, most_pixels: int | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """Expectation over transformation: the mean gradient over `samples` fresh paths at every step.

    One sample is the naive attack on the deployed model (protocol `resample`). With one path per sample, images of up
    to `most_pixels` pixels in all go through the network at once (by default what 1,024 images of 32x32 have, on a CPU
    64 images: larger batches are slower there).
    """

    def estimate(images: Tensor, labels: Tensor) -> Tensor:
        limit = most_pixels or (64 if images.device.type == "cpu" else 1024) * 32 * 32
        total, done = torch.zeros_like(images), 0
        while done < samples:
            repeats = min(samples - done, max(1, limit // (len(images) * images[0, 0].numel())))
            path = draw(repeats)
            if not path.per_sample:  # a draw for the whole batch serves one pass over it
                repeats = 1
            many = torch.cat([images] * repeats)  # keeps channels-last, which `repeat` does not
            gradient = input_gradient(model.on(path), many, labels.repeat(repeats))
            total += gradient.view(repeats, *images.shape).sum(0)
            done += repeats
        return total / samples

    return estimate
