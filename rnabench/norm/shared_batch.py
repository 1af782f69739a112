"""A batch of which this process has a part: the statistics of the whole, for normalisers that take those of batches.

Several processes train one network as one would: the whole batch's mean and variance follow from those of the parts by
the law of total variance, its range from their extremes. Gradients flow back through them to the images of all parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Parts:
    """How many images of a batch each process has; this one is number `rank`."""

    images: tuple[int, ...]
    rank: int

    @property
    def own_share(self) -> float:
        return self.images[self.rank] / sum(self.images)

    def mean(self, rows: Tensor) -> Tensor:
        """Over images, [...], from the means over each process's images, [processes, ...]."""
        if len(set(self.images)) == 1:
            return rows.mean(0)
        share = rows.new_tensor(self.images).view(-1, *[1] * (rows.dim() - 1)) / sum(self.images)
        return (share * rows).sum(0)


# of the process and not of a thread: on CUDA backward passes run in threads of torch's
_parts: Parts | None = None


@contextmanager
def shared_batch(images: Sequence[int], rank: int) -> Iterator[Parts]:
    """Inside the block all batches are shared among processes, with parts that are to one another as these numbers of
    images. All processes run the same passes in the same order."""
    global _parts
    before, _parts = _parts, Parts(tuple(images), rank)
    try:
        yield _parts
    finally:
        _parts = before


def is_shared() -> bool:
    return _parts is not None


def whole(images: int) -> int:
    """How many images a batch has of which so many are here."""
    return images if _parts is None else images * sum(_parts.images) // _parts.images[_parts.rank]


def anywhere(flag: Tensor) -> Tensor:
    """Whether a boolean scalar is true of any part."""
    if _parts is None:
        return flag
    seen = flag.to(torch.int32)
    dist.all_reduce(seen, dist.ReduceOp.MAX)
    return seen.bool()


def of_whole_batch(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Statistics of the whole batch, [groups] each, from those of this part: `mean` and `var`, `low` and `high`."""
    if _parts is None:
        return dict(values)
    here = torch.stack(list(values.values()))
    # every process adds its own row to zeros: a sum is the one message needed, forward and backward
    others = [here.new_zeros(()).expand_as(here)] * (len(_parts.images) - 1)
    rows = torch.stack([*others[: _parts.rank], here, *others[_parts.rank :]])
    each = dict(zip(values, _Sum.apply(rows).unbind(1), strict=True))  # type: ignore[no-untyped-call]
    result: dict[str, Tensor] = {}
    if "mean" in each:
        result["mean"] = mean = _parts.mean(each["mean"])
        result["var"] = _parts.mean(each["var"] + (each["mean"] - mean).square())
    if "low" in each:
        result["low"], result["high"] = each["low"].amin(0), each["high"].amax(0)
    return result


class _Sum(torch.autograd.Function):
    """The sum over processes. Each one's loss depends on every one's term, so the gradient is the sum over processes
    too; differentiable any number of times. (torch.distributed.nn.functional's is deprecated.)"""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        summed = values.clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        summed: Tensor = _Sum.apply(grads[0].contiguous())  # type: ignore[no-untyped-call]
        return summed
