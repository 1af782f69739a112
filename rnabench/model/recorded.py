"""Passes through a network that stands still, recorded as CUDA graphs: what attacks and predictions replay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from rnabench.model.classifier import RandomizedClassifier
from rnabench.norm.layers import norm_layers
from rnabench.path.choice import choices_of, use_choices
from rnabench.path.path import Path
from rnabench.runtime.captured import Captured

Pass = Callable[[Tensor, Tensor], Tensor]
"""Images [N, 3, H, W] and choices int64 [1 or N, L] to logits."""


class RecordedPasses:
    """Logits of a classifier in eval mode whose parameters do not move, from graphs of a few numbers of images.

    The largest number of images that was seen, and its half, quarter and eighth, have graphs (one for passes that a
    gradient follows, with the gradient's own, and one for those without); images are padded up to the next of them, so
    that attacks whose examples drop out one by one replay too. More images than before start anew.
    """

    def __init__(self, run: Pass, device: torch.device) -> None:
        self.run, self.device, self.most = run, device, 0
        self._graphs: dict[tuple[object, ...], Pass] = {}

    def __call__(self, images: Tensor, choices: Tensor) -> Tensor:
        count = len(images)
        if count > self.most:
            self.most = count
            self._graphs.clear()  # and their memory with them
        size = self._size(count)
        if size > count:
            images, choices = (torch.cat([each, each[:1].expand(size - count, *each.shape[1:])])
                               if len(each) == count else each for each in (images, choices))
        followed = torch.is_grad_enabled() and images.requires_grad
        key = (images.shape, choices.shape, images.dtype, followed)
        if key not in self._graphs:
            self._graphs[key] = self._recorded(images, choices, followed)
        return self._graphs[key](images, choices.to(self.device))[:count]

    def _size(self, count: int) -> int:
        """The smallest of the sizes with graphs that holds so many images."""
        sizes = [-(-self.most // share) for share in (8, 4, 2, 1)]
        return next(size for size in sizes if size >= count)

    def _recorded(self, images: Tensor, choices: Tensor, followed: bool) -> Pass:
        if self.device.type != "cuda":
            return self.run
        if followed:
            samples = torch.empty_like(images).copy_(images.detach()).requires_grad_(), choices.to(self.device)
            with_gradient: Pass = torch.cuda.make_graphed_callables(self.run, samples)  # type: ignore[assignment]
            return with_gradient
        forward = Captured(lambda *inputs: (self.run(*inputs),), (), self.device)
        return lambda *inputs: forward(*inputs)[0].clone()  # the next pass overwrites it


@contextmanager
def recorded_passes(model: RandomizedClassifier) -> Iterator[None]:
    """Inside the block, in which neither mode nor parameters may change, passes through `model.on(path)` are recorded
    and replayed; not those of a network in which an image's prediction depends on its batch mates."""
    alone = all(at_inference != "batch" for norm in norm_layers(model).values()
                for _, at_inference in norm.active.sources.values())

    def run(images: Tensor, choices: Tensor) -> Tensor:
        with use_choices(choices_of(model, Path(choices), as_tensor=True)):
            logits: Tensor = model(images)
        return logits

    before = model.recorded
    try:
        model.recorded = RecordedPasses(run, next(model.parameters()).device) if alone else None
        yield
    finally:
        model.recorded = before
