"""Random numbers by name: each is a function of (seed, purpose, example, draw, place), and of nothing else.

What example 17 draws for a purpose does not depend on which batch it is in, on how many processes there are, on what
was drawn before, or on the device. A run is replayed by its seed, and a stopped run needs no saved generator state.

The package leaves the state of torch's and numpy's global generators as it finds it (what torch itself draws from
them, initial weights for one, is seeded by name and the state put back).
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

MASK = 0xFFFFFFFF  # 32 bits
ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
KEY_STEPS = 0x9E3779B9, 0xBB67AE85
_globals = threading.RLock()


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit integer that depends on the seed and on every name, and on nothing else (not on the platform)."""
    text = "/".join([str(seed), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh torch generator on `device` for the stream of that name, for what torch itself draws.

    CPU and GPU generators of one name give different numbers: a result that must not depend on the device takes
    `ExampleStreams`.
    """
    return torch.Generator(device=device).manual_seed(derive(seed, *names))


@contextmanager
def alone_with_globals() -> Iterator[None]:
    """Inside, no other thread of this package seeds global generators, or puts them back."""
    with _globals:
        yield


@contextmanager
def globals_at(seed: int | None = None) -> Iterator[None]:
    """Inside, torch's global generator of the CPU starts from `seed`, if there is one, and numbers are float32 where
    nothing else is said; afterwards both are as they were."""
    with alone_with_globals(), torch.random.fork_rng(devices=[]):
        kind = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            if seed is not None:
                torch.default_generator.manual_seed(seed)
            yield
        finally:
            torch.set_default_dtype(kind)


def _renew() -> None:
    global _globals
    _globals = threading.RLock()


if hasattr(os, "register_at_fork"):  # a process that was forked has no thread that would let go of it
    os.register_at_fork(after_in_child=_renew)


def philox(counter: Sequence[Tensor], key: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox4x32-10 (Salmon et al. 2011) of four counter words and a 64-bit key: four random words.

    All words are int64 tensors that hold 32 bits, of shapes that broadcast. Only integer operations: the same bits on
    every device, and inside a captured graph.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key & MASK, (key >> 32) & MASK
    for _ in range(ROUNDS):
        # the product of two 32-bit words wraps around in int64, but its 64 bits are right: shift, then mask
        first, second = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        high0, high1 = (first >> 32) & MASK, (second >> 32) & MASK
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, second & MASK, high0 ^ c3 ^ k1, first & MASK
        k0, k1 = (k0 + KEY_STEPS[0]) & MASK, (k1 + KEY_STEPS[1]) & MASK
    return c0, c1, c2, c3


class ExampleStreams:
    """A random stream per example, keyed by (seed, names) and the example's index in its data set.

    A stream is a sequence of draws, numbered from `first`; every call takes the next one (or several) of all streams.
    `indices` may name anything that has randomness of its own: examples, groups of examples, training steps.
    """

    def __init__(self, seed: int, *names: str | int, indices: Sequence[int], first: int = 0,
                 device: torch.device | str = "cpu") -> None:
        self.key, self.drawn = derive(seed, *names), first
        self._examples = _on(device, indices)

    def __len__(self) -> int:
        return len(self._examples)

    def words(self, places: int, draws: int = 1) -> Tensor:
        """The next `draws` draws of `places` words of 32 bits each: int64 [draws, N, places]."""
        device, examples = self._examples.device, self._examples[None, :, None]
        draw = torch.arange(self.drawn, self.drawn + draws, device=device)[:, None, None]
        block = torch.arange(-(-places // 4), device=device)  # a counter gives four words
        self.drawn += draws
        shape = draws, len(self), len(block)
        counter = [word.expand(shape) for word in (block, draw, examples & MASK, (examples >> 32) & MASK)]
        return torch.stack(philox(counter, self.key), -1).flatten(2)[:, :, :places]

    def uniform(self, *shape: int) -> Tensor:
        """Float32 [N, *shape], uniform on the multiples of 2^-24 in [0, 1): the next draw of every stream."""
        words = self.words(math.prod(shape))[0]
        return ((words >> 8).float() * 2**-24).view(len(self), *shape)

    def below(self, sizes: Sequence[int], draws: int = 1) -> Tensor:
        """The next `draws` draws of one number in 0..size-1 for every size: int64 [draws, N, len(sizes)].

        A number's probability differs from 1 / size by less than 2^-32.
        """
        words = self.words(len(sizes), draws)
        return (words * _on(words.device, sizes)) >> 32

    def order(self) -> Tensor:
        """A random order of the N examples, int64 [N]: the places of the streams sorted by a draw of each."""
        words = self.words(2)[0]
        return torch.argsort((words[:, 0] << 31) + (words[:, 1] >> 1), stable=True)


def _on(device: torch.device | str, numbers: Sequence[int]) -> Tensor:
    """Int64 numbers on a device."""
    made = torch.tensor(list(numbers), dtype=torch.int64)
    if torch.device(device).type == "cuda":  # from pinned memory the copy does not make the host wait for the device
        return made.pin_memory().to(device, non_blocking=True)
    return made
