"""The space of paths of a network: what can be drawn, how it is drawn, and how much of it there is."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import torch
from torch import nn

from rnabench.errors import InvalidValue
from rnabench.path.choice import choice_layers
from rnabench.path.names import Names
from rnabench.path.path import Path
from rnabench.seeding import ExampleStreams

INDEPENDENT = 2**20  # paths; in larger spaces two independent draws are hardly ever the same


@dataclass(frozen=True)
class PathSpace:
    """All paths through named layers with options that have names, or numbers alone.

    `shared` is the paper's layer-based constraint (Table 5): one draw serves every layer, so there are n paths
    instead of n^L. A space without layers has one path, the empty one.
    """

    layers: tuple[str, ...]
    options: tuple[Names, ...]
    shared: bool = False

    def __post_init__(self) -> None:
        if self.shared and len({len(names) for names in self.options}) > 1:
            raise InvalidValue("draw", "layer-based", "the same number of options in every layer")

    @classmethod
    def of(cls, network: nn.Module) -> PathSpace:
        """The space of a network; its attribute `layer_based`, if true, says that draws are network-wide."""
        layers = choice_layers(network)
        options = tuple(layer.names for layer in layers.values())
        return cls(tuple(layers), options, shared=bool(getattr(network, "layer_based", False)))

    @property
    def _free(self) -> list[int]:
        """The number of options of each independent draw."""
        sizes = [len(names) for names in self.options]
        return sizes[:1] if self.shared else sizes

    @property
    def count(self) -> int:
        """The number of different paths, exactly."""
        return math.prod(self._free)

    @property
    def count_in_digits(self) -> str:
        """The same in decimal, also where it has more digits than Python writes of an int."""
        return str(Decimal(self.count))

    @property
    def is_random(self) -> bool:
        return self.count > 1

    @property
    def takes_rows(self) -> bool:
        """A path may have a row for each sample of a batch."""
        return True

    def sample(self, generator: torch.Generator, rows: int = 1) -> Path:
        """`rows` independent uniform draws from `generator` (a CPU generator)."""
        uniform = torch.rand(rows, len(self._free), dtype=torch.float64, generator=generator)
        return self._path_of((uniform * torch.tensor(self._free, dtype=torch.float64)).long())

    def sample_each(self, streams: ExampleStreams, repeats: int = 1) -> Path:
        """A path of repeats x N rows, on the streams' device: row k * N + i is the k-th draw of example i's stream."""
        return self._path_of(streams.below(self._free, repeats).flatten(0, 1))

    def sample_other(self, path: Path, streams: ExampleStreams) -> Path:
        """For each row of `path` (a row for each stream) another path, uniform among all others.

        In a space of more than INDEPENDENT paths it is drawn independently, and is the same less often than once in so
        many draws. Raises InvalidValue for a space of one path.
        """
        if not self.is_random:
            raise InvalidValue("path space", "1 path", "several paths, to draw another one from")
        if self.count > INDEPENDENT:
            return self.sample_each(streams)
        # a path is a number in the mixed radix of the options: a step round from one to any other, digit by digit,
        # without a look at what was drawn
        step, choices = 1 + streams.below([self.count - 1])[0], []
        for layer, size in enumerate(self._free):
            choices.append((path.choices[:, layer] + step[:, 0]) % size)
            step = step // size
        return self._path_of(torch.stack(choices, 1))

    def at_difference(self, path: Path, difference: int, generator: torch.Generator) -> Path:
        """A path that differs from the one-row `path` in exactly so many layers, uniform among all of these.

        With a uniform `path` the pair is uniform among the pairs of that difference, as long as the layers have equally
        many options. Raises InvalidValue for a difference that no pair of paths has.
        """
        others = [size - 1 for size in self._free]
        count = len(others) * (difference > 0) if self.shared else difference
        if difference not in self.differences:
            raise InvalidValue("path difference", difference, f"one of {', '.join(map(str, self.differences))}")
        # ways[i][k]: how many paths through the layers from i on differ in k of them, exactly
        ways = [[1] + [0] * count]
        for other in reversed(others):
            after = ways[0]
            ways.insert(0, [after[k] + (other * after[k - 1] if k else 0) for k in range(count + 1)])
        uniform = torch.rand(2, len(others), dtype=torch.float64, generator=generator).tolist()
        choices = list(path.rows[0][:1] if self.shared else path.rows[0])
        for layer, other in enumerate(others):
            if count and uniform[0][layer] < other * ways[layer + 1][count - 1] / ways[layer][count]:
                choices[layer] = (choices[layer] + 1 + int(uniform[1][layer] * other)) % (other + 1)
                count -= 1
        return Path.of(*(choices * len(self.layers) if self.shared else choices))

    @property
    def differences(self) -> tuple[int, ...]:
        """The path differences that pairs of paths can have."""
        return tuple(difference for difference, share in enumerate(self.difference_shares) if share > 0)

    @property
    def difference_shares(self) -> tuple[float, ...]:
        """How probable each path difference 0..L is for two independent draws: for L free layers of n options each, the
        binomial distribution of L trials with 1 - 1/n."""
        shares = [1.0]
        for size in self._free:
            same = 1 / size
            shares = [same * a + (1 - same) * b for a, b in zip([*shares, 0.0], [0.0, *shares], strict=True)]
        if self.shared and self.layers:
            shares = [shares[0], *[0.0] * (len(self.layers) - 1), shares[1]]
        return tuple(shares)

    def uniform_paths(self) -> dict[str, Path]:
        """The paths that take the same option in every layer, by the option's name; none where a layer has options
        without names."""
        named = [names for names in self.options if isinstance(names, tuple)]
        if not named or len(named) < len(self.options):
            return {}
        return {name: Path.of(*(names.index(name) for names in named)) for name in named[0]
                if all(name in names for names in named)}

    def parse(self, text: str) -> Path:
        """A one-row path as a user writes it: an option for all layers, by name or number, or a number for each layer
        (`0110`, `0.11.3.` or `0,1,1,0`). Raises InvalidValue for a path that is not in this space."""
        uniform = self.uniform_paths()
        if text in uniform:
            return uniform[text]
        dotted = text.replace(",", ".") + "." if "," in text else text
        choices = Path.parse(dotted).rows[0] if re.fullmatch(r"[0-9]+|([0-9]+\.)+", dotted) else ()
        if len(choices) == 1:
            choices *= len(self.layers)
        fits = len(choices) == len(self.layers) and all(map(int.__lt__, choices, map(len, self.options)))
        if not fits or (self.shared and len(set(choices)) > 1):
            each = f"a number for each of {len(self.layers)} layers, as in 0110 or 0,1,1,0"
            alike = f"an option for all layers ({', '.join(uniform)})"
            expected = alike if self.shared else f"{alike}, or {each}" if uniform else each
            raise InvalidValue("path", text, expected, uniform)
        return Path.of(*choices)

    def enumerate(self, limit: int = 4096) -> Iterator[Path]:
        """Every path of a small space, in lexicographic order. Raises InvalidValue if there are over `limit`."""
        if self.count > limit:
            raise InvalidValue("path space", f"{self.count} paths", f"at most {limit} to enumerate")
        for choices in itertools.product(*map(range, self._free)):
            yield Path.of(*(choices * len(self.layers) if self.shared else choices))

    def describe(self, path: Path) -> dict[str, str]:
        """The option's name by layer, for a one-row path."""
        return {layer: names[c] for layer, names, c in zip(self.layers, self.options, path.rows[0], strict=True)}

    def _path_of(self, choices: torch.Tensor) -> Path:
        """The path with a row for each row of int64 `choices`, one number per independent draw."""
        if self.shared:
            choices = choices[:, :1].expand(-1, len(self.layers))
        return Path(choices)
