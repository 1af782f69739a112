"""A state of a network (its mode, whether statistics move) that blocks of code set for as long as they run, in several
threads too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

_lock = threading.RLock()
_blocks: WeakKeyDictionary[nn.Module, dict[str, list[list[Any]]]] = WeakKeyDictionary()


@contextmanager
def held(network: nn.Module, what: str, read: Callable[[], Any], change: Callable[[], object],
         restore: Callable[[Any], object]) -> Iterator[None]:
    """`change` the state `what` of the network inside the block, and afterwards `restore` what `read` found before it.

    Where a block ends while a later one of another thread goes on, that one keeps its state, and restores what there
    was before both: two evaluations of one network would leave it frozen.
    """
    with _lock:
        entered = _blocks.setdefault(network, {}).setdefault(what, [])
        block = [read()]
        entered.append(block)
        change()
    try:
        yield
    finally:
        with _lock:
            place = next(number for number, other in enumerate(entered) if other is block)
            if place + 1 == len(entered):
                restore(block[0])
            else:
                entered[place + 1][0] = block[0]
            del entered[place]
