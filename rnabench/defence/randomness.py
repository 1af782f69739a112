"""Where a network's random numbers come from, and how they are made to come again.

A defence is judged on draws of its randomness: each has to be made at will (another draw), and again (the same one, to
attack it frozen). What a network of somebody else's draws from is found in this order:

1. **Choice layers** (`rnabench.path.choice.ChoiceLayer`): a path says what each of them uses, for a batch or for each
   image. Such a network is a `RandomizedClassifier`, and nothing below concerns it unless it draws more than that.
2. **A generator of its own**: an attribute `generator` (a `torch.Generator`) of the network or of any module in it, or
   an argument `generator` of its `forward`. It is seeded before every forward. A network that also says
   `draws_per_sample = True` is called with a list of generators instead, one for each image: attacks then know images
   with draws of their own.
3. **Global generators**: torch's on the CPU and on CUDA, numpy's, Python's `random`. All of them are seeded before a
   forward, and put back after it as they were.
4. **Anything else** (`os.urandom`, the clock, a `numpy.random.Generator` of its own): no seed fixes it. Such a network
   is attacked with fresh draws only, and not under a protocol that freezes one.

So an adapter of a few lines is often enough: call a defence with a generator, or let it draw from a global one. Nothing
has to be declared: which sources matter is found by seeding all, and then varying one at a time (`sources_of`).
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnabench.model.classifier import RandomizedClassifier
from rnabench.seeding import alone_with_globals, derive

CHOICES, OWN, ARGUMENT = "choice layers", "its own generator", "the generator it is called with"
UNFIXED = "something that no seed fixes"
FIRST, OTHERS = 1, range(2, 9)  # seeds; a choice of two comes out the same on all eight once in 128 times


@dataclass(frozen=True)
class Source:
    """A generator of random numbers: `state` reads and `restore` sets what `seed` changes."""

    name: str
    seed: Callable[[int], object]
    state: Callable[[], Any]
    restore: Callable[[Any], object]


def _global_sources() -> list[Source]:
    found = [Source("torch's CPU generator", torch.default_generator.manual_seed, torch.get_rng_state,
                    torch.set_rng_state)]
    if torch.cuda.is_available():
        found.append(Source("torch's CUDA generators", torch.cuda.manual_seed_all, torch.cuda.get_rng_state_all,
                            torch.cuda.set_rng_state_all))
    return [*found, Source("numpy's global generator", np.random.seed, np.random.get_state, np.random.set_state),
            Source("Python's random", random.seed, random.getstate, random.setstate)]


def _own_sources(network: nn.Module) -> list[Source]:
    """The attributes `generator` of a network's modules, each generator once. Two of them have different numbers."""
    by_identity = {}
    for place, module in network.named_modules():
        generator = getattr(module, "generator", None)
        if isinstance(generator, torch.Generator) and id(generator) not in by_identity:
            def seed(number: int, place: str = place, generator: torch.Generator = generator) -> object:
                return generator.manual_seed(derive(number, "generator", place))

            name = CHOICES if isinstance(module, RandomizedClassifier) else OWN
            by_identity[id(generator)] = Source(name, seed, generator.get_state, generator.set_state)
    return list(by_identity.values())


class Randomness:
    """All that a network may draw from. `per_image`: it takes a generator for each image."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.sources = network, [*_own_sources(network), *_global_sources()]
        self.called_with_one = _takes_generator(network)
        self.per_image = self.called_with_one and getattr(network, "draws_per_sample", False) is True

    def forward(self, images: Tensor, seeds: Sequence[int]) -> Any:
        """What the network returns for images with everything at one seed or, if it takes a generator for each image,
        with those at as many seeds."""
        generators = self._generators(images, seeds)
        with self._at({source.name: seeds[0] for source in self.sources}):
            return self._called(images, generators)

    def varied(self, images: Tensor, seeds: Mapping[str, int]) -> tuple[Any, list[str]]:
        """The same with everything at seed FIRST but the sources that `seeds` names; and the names of the sources that
        were drawn from."""
        generators = self._generators(images, [seeds.get(ARGUMENT, FIRST)])
        before = [generator.get_state() for generator in generators]
        with self._at({source.name: seeds.get(source.name, FIRST) for source in self.sources}):
            at_start = [source.state() for source in self.sources]
            found = self._called(images, generators)
            drawn_from = [source.name for source, state in zip(self.sources, at_start, strict=True)
                          if not _same(state, source.state())]
        if not _same(before, [generator.get_state() for generator in generators]):
            drawn_from.append(ARGUMENT)
        return found, drawn_from

    def _generators(self, images: Tensor, seeds: Sequence[int]) -> list[torch.Generator]:
        """What the network is called with: one for each image, the only one, or none."""
        if not self.called_with_one:
            return []
        seeds = list(seeds) * len(images) if self.per_image and len(seeds) == 1 else seeds
        return [torch.Generator(images.device).manual_seed(seed) for seed in seeds]

    def _called(self, images: Tensor, generators: list[torch.Generator]) -> Any:
        """What the network returns, on the device of the images."""
        arguments = {"generator": generators if self.per_image else generators[0]} if generators else {}
        found = self.network(images, **arguments)
        return found.to(images.device) if isinstance(found, Tensor) else found

    @contextmanager
    def _at(self, seeds: Mapping[str, int]) -> Iterator[None]:
        """All sources at these seeds inside the block, and afterwards as they were."""
        with alone_with_globals():
            before = [source.state() for source in self.sources]
            try:
                for source in self.sources:
                    source.seed(seeds[source.name])
                yield
            finally:
                for source, state in zip(self.sources, before, strict=True):
                    source.restore(state)


def _takes_generator(network: nn.Module) -> bool:
    try:
        return "generator" in inspect.signature(network.forward).parameters
    except (TypeError, ValueError):  # of compiled code nobody knows
        return False


Run = Callable[[Mapping[str, int]], tuple[Tensor, list[str]]]
"""`Randomness.varied` on some images."""


def sources_of(run: Run) -> tuple[str, ...]:
    """The names of the sources that a network's logits depend on; none of a deterministic one, and UNFIXED alone of one
    whose logits do not come again at the same seeds: asked as often as for other seeds, since what tosses a coin that
    no seed fixes would pass for fixed every other time if it were asked once."""
    logits, to_try = run({})
    if not all(torch.equal(logits, run({})[0]) for _ in OTHERS):
        return (UNFIXED,)
    tried, matter = set[str](), list[str]()
    while to_try := [name for name in dict.fromkeys(to_try) if name not in tried]:
        tried.add(name := to_try[0])
        for seed in OTHERS:
            other, drawn_from = run({name: seed})
            to_try += drawn_from  # some draw from one source only where another one says so
            if not torch.equal(logits, other):
                matter.append(name)
                break
    return tuple(matter)


def _same(first: Any, second: Any) -> bool:
    """Whether two states are equal: tensors, arrays, numbers, or lists and tuples of them."""
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(_same, first, second))
    if isinstance(first, Tensor):
        return torch.equal(first, second)
    return bool(np.array_equal(first, second))
