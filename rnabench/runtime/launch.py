"""What a launcher such as torchrun says in the environment of the processes that it starts."""

from __future__ import annotations

import os
from dataclasses import dataclass

from rnabench.errors import InvalidValue, OfOneRank

NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # by torch too, for processes to find each other


class WrongLaunch(InvalidValue, OfOneRank):
    """What this process was told cannot be; which one it is is not known then, so it tells itself."""


@dataclass(frozen=True)
class Launch:
    """This process is number `rank` of `count`, and number `local_rank` of the `local_count` on its machine."""

    rank: int
    count: int
    local_rank: int
    local_count: int


def launched() -> Launch | None:
    """None where this process was started alone. Raises InvalidValue for numbers that cannot be."""
    if not all(name in os.environ for name in NEEDED) or _number("WORLD_SIZE", 1, 10**6) == 1:
        return None
    count = _number("WORLD_SIZE", 1, 10**6)
    rank = _number("RANK", 0, count - 1)
    local_count = _number("LOCAL_WORLD_SIZE", 1, count) if "LOCAL_WORLD_SIZE" in os.environ else count
    local_rank = _number("LOCAL_RANK", 0, local_count - 1) if "LOCAL_RANK" in os.environ else rank
    _number("MASTER_PORT", 1, 65535)
    if not os.environ["MASTER_ADDR"]:
        raise WrongLaunch("$MASTER_ADDR", "", "the first rank's host, as torchrun sets it")
    return Launch(rank, count, local_rank, local_count)


def tells_errors() -> bool:
    """Whether this process is the first on its machine, or alone: an error that all meet is one line of that one."""
    alone = not all(name in os.environ for name in NEEDED)
    return alone or os.environ.get("LOCAL_RANK", os.environ["RANK"]) == "0"


def _number(name: str, least: int, most: int) -> int:
    text = os.environ[name]
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise WrongLaunch(f"${name}", text, f"a whole number from {least} to {most}, as torchrun sets it")
    return int(text)
