"""Mixture BN: a batch normalisation for each kind of image, the rest of the network shared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, cast

from torch import Tensor, nn

from rnabench.errors import InvalidValue, one_of
from rnabench.norm.layers import BatchGroupNorm, Norm
from rnabench.norm.statistics import Source, Statistic, Statistics
from rnabench.settings.deployment import BRANCHES
from rnabench.settings.spaces import NORMS


@NORMS.register("mbn")
class MixtureBatchNorm(Norm):
    """A BN of its own (statistics, scale and shift) for clean images, and one for adversarial ones (AdvProp's auxiliary
    BN). Forward passes use the first unless `use_branch` says otherwise, and a frozen network holds that alone."""

    summary = "mixture BN, a batch normalisation for clean images (used at inference) and one for adversarial ones"
    affine = False  # its branches have theirs
    branches: ClassVar[tuple[str, ...]] = BRANCHES

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(channels, groups)
        self.norms = nn.ModuleDict({branch: BatchGroupNorm(channels, groups) for branch in self.branches})
        self.branch = self.branches[0]

    @property
    def active(self) -> Norm:
        return cast(Norm, self.norms[self.branch])

    @property
    def taken(self) -> Mapping[Statistic, Source]:
        return self.active.taken

    @property
    def moves(self) -> bool:
        return self.active.moves

    @property
    def needs(self) -> frozenset[Statistic]:
        return self.active.needs

    def coefficients(self, statistics: Statistics, used: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.active.coefficients(statistics, used)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.active(x)
        return result

    def plain(self) -> nn.Module:
        return self.active.plain()


def mixtures(network: nn.Module) -> list[MixtureBatchNorm]:
    """The mixtures of a network."""
    return [module for module in network.modules() if isinstance(module, MixtureBatchNorm)]


@contextmanager
def use_branch(network: nn.Module, branch: str) -> Iterator[None]:
    """Inside the block the mixtures of the network use that branch; restores what was set.

    Like training and eval mode it is a state of the network, shared by all threads. Raises InvalidValue for a branch
    that a mixture does not have, and for a network without mixtures.
    """
    layers = mixtures(network)
    if not layers:
        raise InvalidValue("branch", branch, "a network with mixtures, such as one of --space mbn")
    for layer in layers:
        if branch not in layer.branches:
            raise InvalidValue("branch", branch, one_of(layer.branches), layer.branches)
    previous = [layer.branch for layer in layers]
    try:
        for layer in layers:
            layer.branch = branch
        yield
    finally:
        for layer, value in zip(layers, previous, strict=True):
            layer.branch = value
