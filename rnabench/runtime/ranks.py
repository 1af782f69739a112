"""The processes that train one network together, a part of every batch each: what they tell one another.

Each of them does the same work in the same order, so that none waits for a message that another never sends: what only
one of them can know (that it was asked to stop, that a file is damaged) is told to all before any acts on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from rnabench.errors import LONGEST_SHOWN, InvalidValue, OfOneRank, RnabenchError
from rnabench.runtime.device import find_device
from rnabench.runtime.launch import launched

T = TypeVar("T")


class RankLost(OfOneRank):
    """Another process of this training has ended; this one cannot go on without it."""


@dataclass(frozen=True)
class Ranks:
    """This process is number `rank` of `count`. Of one that is alone every method is trivial."""

    rank: int = 0
    count: int = 1
    device: str | None = None
    host: Any = None  # the group by which the processes, not their devices, talk

    @property
    def first(self) -> bool:
        """Whether it is the one that writes and prints."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        return self.count > 1

    def rows(self, images: int, rank: int | None = None) -> slice:
        """Which of a batch's images a rank (this one) has: parts behind each other that differ by one at most."""
        rank = self.rank if rank is None else rank
        return slice(images * rank // self.count, images * (rank + 1) // self.count)

    def sizes(self, images: int) -> tuple[int, ...]:
        """How many of so many images each rank has."""
        return tuple(rows.stop - rows.start for rows in (self.rows(images, rank) for rank in range(self.count)))

    def add_up(self, values: Tensor) -> Tensor:
        """The sum over the ranks, in the place of `values`; the same bits on all of them."""
        if self.several:
            dist.all_reduce(values)
        return values

    def total(self, numbers: Sequence[int]) -> list[int]:
        """The sums over the ranks of numbers that the host knows."""
        return self._over_ranks(numbers, dist.ReduceOp.SUM)

    def any(self, *flags: bool) -> list[bool]:
        """Of each flag whether it is set on any rank."""
        return [bool(each) for each in self._over_ranks(flags, dist.ReduceOp.MAX)]

    def _over_ranks(self, numbers: Sequence[int], how: Any) -> list[int]:
        if not self.several:
            return list(numbers)
        values = torch.tensor(numbers, dtype=torch.int64)
        dist.all_reduce(values, how, group=self.host)
        return [int(each) for each in values]

    def by_first(self, work: Callable[[], T]) -> T:
        """What `work` returns on the first rank, which alone does it, and once it has done it. If it raises an error
        for users there, all ranks do."""
        if not self.several:
            return work()
        told: list[Any] = [None, None]
        failed: RnabenchError | None = None
        if self.first:
            try:
                told[0] = work()
            except RnabenchError as error:
                told[1], failed = str(error), error
        dist.broadcast_object_list(told, src=0, group=self.host, device=torch.device("cpu"))
        if told[1] is not None:
            raise failed or RnabenchError(told[1])
        result: T = told[0]
        return result

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block in which ranks do not talk. An error for users in one of them, all raise behind it."""
        failed: RnabenchError | None = None
        try:
            yield
        except RnabenchError as error:
            failed = error
        if self.several:
            for rank, message in enumerate(self._all(None if failed is None else str(failed))):
                if message is not None and failed is None:
                    raise RnabenchError(f"rank {rank}: {message}")
        if failed is not None:
            raise failed

    def agree(self, values: Mapping[str, object]) -> None:
        """Raises RnabenchError on all ranks unless these values are the same on all of them."""
        if not self.several:
            return
        own, *others = self._all({name: str(value) for name, value in values.items()})
        for rank, theirs in enumerate(others, 1):
            for name in sorted({*own, *theirs}):
                here, there = (each.get(name, "not set") for each in (own, theirs))
                if here != there:
                    raise RnabenchError(f"ranks: {name} is {here} on rank 0 and {there} on rank {rank}; expected the "
                                        "same on all, of one version of the code and one command")

    def _all(self, content: Any) -> list[Any]:
        each: list[Any] = [None] * self.count
        dist.all_gather_object(each, content, group=self.host)
        return each


ALONE = Ranks()


@contextmanager
def launched_ranks(device_name: str) -> Iterator[Ranks]:
    """The ranks that torchrun, or another launcher, has started this process as one of; `ALONE` without one.

    On CUDA each has a GPU of its own. Raises InvalidValue for a device that cannot serve them all, and RankLost when
    another one ends before this block does.
    """
    launch = launched()
    if launch is None:
        yield ALONE
        return
    device = find_device(device_name)
    if device.type == "cuda":
        present = torch.cuda.device_count()
        if device_name not in ("auto", "cuda"):
            raise InvalidValue("--device", device_name, "auto, cuda or cpu with several ranks, each on its own GPU")
        if launch.local_count > present:
            raise InvalidValue("--nproc-per-node", launch.local_count, f"at most the {present} CUDA devices found, or "
                               "--device cpu")
        device = torch.device("cuda", launch.local_rank)
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        host = dist.new_group(backend="gloo")
    except RuntimeError as error:
        raise RankLost(f"ranks: rank {launch.rank} of {launch.count} does not find the others by $MASTER_ADDR "
                       f"{os.environ['MASTER_ADDR']!r} and $MASTER_PORT {os.environ['MASTER_PORT']}: "
                       f"{str(error).splitlines()[0][:LONGEST_SHOWN]}; expected the first rank's host, and a port that "
                       "is free there") from error
    try:
        yield Ranks(launch.rank, launch.count, str(device), host)
        dist.destroy_process_group()
    except RuntimeError as error:  # of a message in any pass, forward or backward
        if not _of_a_lost_rank(error):
            raise
        raise RankLost("ranks: another rank of this training has ended; run the same command again, with any number of "
                       "ranks, to go on from the last saved state") from error


def _of_a_lost_rank(error: RuntimeError) -> bool:
    text = str(error).lower()
    return isinstance(error, dist.DistError) or "gloo" in text or "nccl" in text or "connection" in text
