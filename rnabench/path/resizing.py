"""Images resized and padded by random numbers: what attacks and defences do to what a network is given."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

GREY = 0.5  # what images are padded with
NUMBERS = 4  # random numbers that a transformation is made of: whether, size, offset down, offset to the right


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
        count, channels, height, width = *images.shape[:2], int(images.shape[2]), int(images.shape[3])
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
