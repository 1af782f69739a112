"""Passes through a network that stands still, recorded as CUDA graphs: what attacks and predictions replay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from rnabench.model.classifier import RandomizedClassifier
from rnabench.path.choice import choices_of, use_choices
from rnabench.path.path import Path
from rnabench.runtime.captured import CapturedPass, Shared, replayed

Pass = Callable[[Tensor, Tensor], Tensor]
"""Images [N, 3, H, W] and choices int64 [1 or N, L] to logits."""


class RecordedPasses:
    """Logits of a classifier in eval mode whose parameters do not move, from graphs of a few numbers of images.

    The largest number of images that was seen, and its half, quarter and eighth, have graphs; images are padded up to
    the next of them, so that attacks whose examples drop out one by one replay too. More images than before start anew.
    For one thread: all passes run on the same buffers.
    """

    def __init__(self, run: Pass, device: torch.device) -> None:
        self.run, self.device = run, device
        self.forget()

    def forget(self) -> None:
        """Give all graphs and their memory back."""
        self.most, self._shared = 0, Shared()
        self._passes: dict[tuple[torch.Size, torch.Size, torch.dtype], CapturedPass] = {}

    def __call__(self, images: Tensor, choices: Tensor) -> Tensor:
        count = len(images)
        if count > self.most:
            self.forget()
            self.most = count
        size = self._size(count)
        if size > count:
            images, choices = (torch.cat([each, each[:1].expand(size - count, *each.shape[1:])])
                               if len(each) == count else each for each in (images, choices))
        key = images.shape, choices.shape, images.dtype
        if key not in self._passes:
            self._passes[key] = CapturedPass(self.run, (images, choices), self.device, self._shared)
        return replayed(self._passes[key], images, choices)[:count]

    def _size(self, count: int) -> int:
        """The smallest of the sizes with graphs that holds so many images."""
        sizes = [-(-self.most // share) for share in (8, 4, 2, 1)]
        return next(size for size in sizes if size >= count)


@contextmanager
def recorded_passes(model: RandomizedClassifier) -> Iterator[None]:
    """Inside the block, in which neither mode nor parameters may change, passes through `model.on(path)` are recorded
    and replayed; not those of a network in which an image's prediction depends on its batch mates, or that works on
    the CPU in part."""

    def run(images: Tensor, choices: Tensor) -> Tensor:
        with use_choices(choices_of(model, Path(choices), as_tensor=True)):
            logits: Tensor = model(images)
        return logits

    before, passes = model.recorded, None
    if not (model.batch_dependent or model.on_host):  # images that are padded up would be mates
        passes = RecordedPasses(run, next(model.parameters()).device)
    try:
        model.recorded = passes
        yield
    finally:
        model.recorded = before
        if passes is not None:
            passes.forget()
