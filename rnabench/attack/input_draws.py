"""Random transformations of what a network is given, drawn like its paths: anew in every forward, by counted numbers.

An estimator that looks `through` one asks the network about transformed images. Under `eot:K` each of the K draws then
has a path and a transformation of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rnabench.attack.attack import Uniform
from rnabench.attack.estimators import OnPath
from rnabench.path.path import Path

GREY = 0.5  # what images are padded with
NUMBERS = 4  # random numbers that a transformation is made of: whether, size, offset down, offset to the right
BLOCK = 32  # transformations whose numbers are drawn at once


@dataclass(frozen=True)
class ResizeAndPad:
    """T(x; p) of the thesis (eq. 3.5): with a `probability`, images [n, C, H, W] are resized (nearest pixel) to a
    height that is uniform on the whole numbers between H and round(scale H), and padded with mid-grey at a uniformly
    random offset to the larger of the two; widths follow in proportion. Otherwise they stay as they are, and as large.

    A `scale` above 1 makes larger images than the network was given; one below 1 makes images of the same size.
    """

    probability: float
    scale: float

    def sizes(self, side: int) -> tuple[int, int]:
        """The least and the largest side, in pixels, that images of this one are resized to."""
        other = max(1, round(self.scale * side))
        return min(side, other), max(side, other)

    @property
    def keeps_size(self) -> bool:
        return self.scale <= 1

    def __call__(self, images: Tensor, drawn: Tensor) -> Tensor:
        """All images transformed, by numbers `drawn` on [0, 1): [n, 4], of which the first is not used."""
        count, channels, height, width = images.shape
        least, most = self.sizes(height)
        full_width = (width * most + height // 2) // height
        tall = least + (drawn[:, 1] * (most - least + 1)).long()
        wide = (width * tall + height // 2) // height
        top, left = (drawn[:, 2] * (most - tall + 1)).long(), (drawn[:, 3] * (full_width - wide + 1)).long()
        from_row, in_rows = _sources(tall, top, height, most)
        from_column, in_columns = _sources(wide, left, width, full_width)
        rows = images.gather(2, from_row[:, None, :, None].expand(count, channels, most, width))
        resized = rows.gather(3, from_column[:, None, None, :].expand(count, channels, most, full_width))
        return torch.where(in_rows[:, None, :, None] & in_columns[:, None, None, :], resized, GREY)


def _sources(size: Tensor, offset: Tensor, before: int, after: int) -> tuple[Tensor, Tensor]:
    """For each of `after` places, the one of `before` places that it shows, int64 [n, after], and whether it is inside:
    a stretch of `size` [n] places from `offset` [n] on shows all that was there."""
    place = torch.arange(after, device=size.device) - offset[:, None]
    inside = (place >= 0) & (place < size[:, None])
    return torch.where(inside, place * before // size[:, None], 0), inside


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
