"""Random transformations of what a network is given, drawn like its paths: anew in every forward, by counted numbers.

An estimator that looks `through` one asks the network about transformed images. Under `eot:K` each of the K draws then
has a path and a transformation of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rnabench.attack.attack import Uniform
from rnabench.attack.estimators import OnPath
from rnabench.attack.resumable import remember
from rnabench.path.path import Path
from rnabench.path.resizing import NUMBERS, ResizeAndPad

BLOCK = 32  # transformations whose numbers are drawn at once


class InputDraws:
    """Draws of a transformation for the N images of a batch, in the place of an estimator's `Look`.

    Every image counts its own draws, in blocks of `uniform`'s numbers: what its tenth draw is depends neither on its
    batch mates nor on how many of them are still asked about. With `whole`, for networks whose predictions depend on
    batch mates, the images of a batch are transformed all or none, as its first one says: they stay one batch.
    """

    def __init__(self, transform: ResizeAndPad, uniform: Uniform, batch: int, device: torch.device,
                 whole: bool = False) -> None:
        self.transform, self.uniform, self.batch, self.device, self.whole = transform, uniform, batch, device, whole
        self._numbers = torch.empty(batch, 0, NUMBERS, device=device)
        self._taken = torch.zeros(batch, dtype=torch.int64, device=device)
        self._at_most = 0  # draws that an image has taken: known without waiting for the device
        self._all = torch.arange(batch, device=device)
        remember(self, "_numbers", "_taken", "_at_most")

    def of_whole_batches(self) -> InputDraws:
        return InputDraws(self.transform, self.uniform, self.batch, self.device, whole=True)

    def __call__(self, network: OnPath, path: Path, images: Tensor, repeats: int, rows: Tensor | None) -> Tensor:
        drawn = self._next(repeats, self._all if rows is None else rows)
        changed = drawn[:, 0] < self.transform.probability
        if self.transform.keeps_size:
            return network.on(path)(torch.where(changed.view(-1, 1, 1, 1), self.transform(images, drawn), images))
        # images of two sizes are two questions; the host waits until it knows how many there are of each
        larger, others = changed.nonzero().squeeze(1), (~changed).nonzero().squeeze(1)
        if not len(others):
            return network.on(path)(self.transform(images, drawn))
        if not len(larger):
            return network.on(path)(images)
        logits = torch.cat([network.on(path.take(larger))(self.transform(images[larger], drawn[larger])),
                            network.on(path.take(others))(images[others])])
        return logits[torch.cat([larger, others]).argsort()]

    def _next(self, repeats: int, rows: Tensor) -> Tensor:
        """The next numbers of the images of these rows, [repeats * len(rows), 4]."""
        if self._at_most + repeats > self._numbers.shape[1]:
            self._at_most = int(self._taken.max())  # the host waits here, too, but once for many draws
        while self._at_most + repeats > self._numbers.shape[1]:
            self._numbers = torch.cat([self._numbers, self.uniform(BLOCK, NUMBERS)], 1)
        turns = self._taken[rows] + torch.arange(repeats, device=rows.device)[:, None]
        drawn = self._numbers[rows, turns]
        self._taken[rows] += repeats
        self._at_most += repeats
        if self.whole:
            batches = drawn.view(-1, self.batch, NUMBERS)
            drawn = torch.cat([batches[:, :1, :1].expand(-1, self.batch, 1), batches[:, :, 1:]], 2)
        return drawn.reshape(-1, NUMBERS)
