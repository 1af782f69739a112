"""To be replaced by `rnabench.norm.layers.statistics_from`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from rnabench.errors import InvalidValue
from rnabench.norm.layers import Norm

RUNNING: dict[str, tuple[str, ...]] = {"running": ("mean", "var", "range"), "running-mean": ("mean",), "batch": ()}


@contextmanager
def statistics_from(network: nn.Module, name: str) -> Iterator[None]:
    """Inside the block every normaliser that keeps running statistics takes at inference what `name` says: `running`,
    `batch`, or `running-mean` (the rest of the batch)."""
    running = RUNNING[name]
    norms: list[Any] = [norm for norm in network.modules() if isinstance(norm, Norm) and norm.tracked]

    def refuse(norm: Any, inputs: tuple[Tensor, ...]) -> None:
        if norm.needs and inputs[0].numel() == norm.groups:
            raise InvalidValue("statistics", name, "more than one value per channel: a batch of one image has a single "
                                                   "one in a 1x1 map")
    before = [(norm._sources, norm._needs) for norm in norms]
    hooks = [norm.register_forward_pre_hook(refuse) for norm in norms]
    try:
        for norm in norms:
            sources = {each: "running" if each in running else "batch" for each in norm.sources}
            norm._sources = (sources, norm._sources[1])  # by training: inference comes first
            norm._needs = (frozenset(each for each in sources if each not in running), norm._needs[1])
        yield
    finally:
        for norm, hook, (sources, needs) in zip(norms, hooks, before, strict=True):
            norm._sources, norm._needs = sources, needs
            hook.remove()
