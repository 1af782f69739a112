"""Attacks on networks in which an image's prediction depends on its batch mates: every question goes to a whole batch.

Such a network (statistics of the batch at inference) predicts no image by itself. An attack that asks about some images
of a batch only (what is misclassified drops out of APGD, Square, DeepFool, CW) would ask about another, smaller batch
than the one that is scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any, Self

import torch
from torch import Tensor

from rnabench.attack.estimators import Estimator, Look, OnPath
from rnabench.attack.resumable import Kept, remember
from rnabench.errors import InvalidValue
from rnabench.path.path import Path


class InBatches:
    """A model that takes what it is given in batches of `size` images, one after the other, each with its rows of the
    path: several draws, or tries, that an attack puts into one question do not become each other's batch mates."""

    def __init__(self, model: OnPath, size: int) -> None:
        self.model, self.size = model, size

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        view = self.model.on(path)

        def logits_of(images: Tensor) -> Tensor:
            if len(images) <= self.size:
                return view(images)
            if not path.per_sample:
                return torch.cat([view(batch) for batch in torch.split(images, self.size)])
            parts = zip(torch.split(path.choices, self.size), torch.split(images, self.size), strict=True)
            return torch.cat([self.model.on(Path(choices))(batch) for choices, batch in parts])

        return logits_of


class WholeBatch(Estimator):
    """What `estimator` says of some images of a batch, asked of the whole of it; attacks do not notice.

    The images that are asked about are put into the batch, in which all others are as they were last seen (at first
    `images` [N, C, H, W]), the whole batch goes through the network, and the answer for those asked about comes back.
    An image that stands twice in one question, as in Square's comparison of a try with what it would replace, is in two
    batches, on the same draws of paths; the first counts as last seen. `estimator` asks a model `InBatches` of N.

    A gradient is that of the summed loss of all images asked about, with respect to each: it counts what an image does
    to its mates as well as to itself. The accuracy of a whole batch is what such an attack is to lower, so this is its
    steepest ascent, stronger than each image's own loss alone, and what everybody's PGD does that differentiates the
    mean loss of a batch, as the released code of RobustNorm does. An attacker who is after a single image could move
    its mates for its sake as well; none here does.
    """

    def __init__(self, estimator: Estimator, images: Tensor) -> None:
        self._ask(estimator)
        self._seen = Kept(images=images.detach())  # in an object, which the members of this attacker share
        remember(self._seen, "images")
        self._all = torch.arange(len(images), device=images.device)
        self._asked: tuple[Tensor, Tensor, int] | None = None

    def _ask(self, estimator: Estimator) -> None:
        self.estimator, self.samples, self.is_random = estimator, estimator.samples, estimator.is_random
        self.fusion = estimator.fusion

    @property
    def last_seen(self) -> Tensor:
        seen: Tensor = self._seen.images
        return seen

    def through(self, look: Look) -> Self:
        return self._asking(self.estimator.through(look.of_whole_batches()))

    def held(self) -> Estimator:
        return self._asking(self.estimator.held())

    def members(self) -> list[Estimator]:
        return [self._asking(member) for member in self.estimator.members()]

    def _asking(self, estimator: Estimator) -> Self:
        other = copy(self)
        other._ask(estimator)
        return other

    def forward(self, images: Tensor, rows: Tensor | None = None, done: int = 0) -> Iterator[Tensor]:
        """Raises InvalidValue for some images of a batch without `rows`, which say where in it they stand."""
        if rows is None and len(images) != len(self._all):
            raise InvalidValue("rows", None, f"the places of these {len(images)} images in their batch of "
                                             f"{len(self._all)}: predictions depend on batch mates")
        places, count = self._places(self._all if rows is None else rows)
        batches: Tensor = _Put.apply(images, torch.cat([self.last_seen] * count), places)  # type: ignore[no-untyped-call]
        self._seen.images = batches.detach()[: len(self._all)]
        for logits in self.estimator.forward(batches, self._all.repeat(count) if count > 1 else None, done):
            yield logits[:, places]

    def _places(self, rows: Tensor) -> tuple[Tensor, int]:
        """Where the images of these rows stand in so many batches, one behind the other: a row's k-th in the k-th."""
        if self._asked is None or self._asked[0] is not rows:  # attacks ask about the same rows for many steps
            in_order, order = rows.sort(stable=True)
            number = torch.arange(len(rows), device=rows.device) - torch.searchsorted(in_order, in_order)
            turns = torch.empty_like(rows).scatter(0, order, number)
            self._asked = rows, turns * len(self._all) + rows, int(turns.max()) + 1  # the host waits for the device
        return self._asked[1:]


class _Put(torch.autograd.Function):
    """Images [n, C, H, W] at their places among others. Autograd's own would be spent by the first of several backward
    passes, and each draw of a mean over paths has one."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, others: Tensor, places: Tensor) -> Tensor:
        ctx.places = places  # not saved for backward: that is what is freed
        return others.index_put((places,), images)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None]:
        return slopes[0][ctx.places], None, None
