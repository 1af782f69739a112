"""What tells one foreign network from another: what it computes, and its source."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from rnabench.data.batches import Batch
from rnabench.defence.foreign import ForeignModel
from rnabench.defence.weights import tensors_of
from rnabench.path.path import Path

SEEDS = (1, 2)
AT_ONCE = 32


def foreign_code(description: Mapping[str, Any]) -> list[Any] | None:
    """What tells a foreign network from others of the same weights, by what a record says of it: where it comes from,
    what it computes, and the arguments that it was made with. None of a network of ours."""
    if "arch" in description:
        return None
    imported = description.get("imported") or {}
    arguments = [imported["args"]] if "args" in imported else []
    return [imported.get("import", description["label"]), description.get("code"), *arguments]


def weights_sha256(network: nn.Module) -> str:
    """The hash of all parameters and buffers with their names."""
    found = hashlib.sha256()
    for name, tensor in tensors_of(network).items():
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if tensor.dim() else
                     str(tensor.item()).encode())
    return found.hexdigest()


def logits_sha256(model: ForeignModel, batch: Batch) -> str | None:
    """The hash of the logits of a batch at fixed seeds; None for a model whose draws no seed fixes.

    To the last bit: another device or number of threads, which round differently, is another hash. Then an evaluation
    is made anew once too often, never once too seldom.
    """
    if not model.replayable:
        return None
    found = hashlib.sha256()
    for seed in SEEDS if model.space.is_random else SEEDS[:1]:
        for place in range(0, len(batch.indices), AT_ONCE):
            with torch.no_grad():
                logits = model.on(Path.of(seed))(batch.part(place, place + AT_ONCE).images)
            found.update(logits.detach().float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def source_sha256(network: nn.Module, factory_module: str) -> str | None:
    """The hash of a network's source: the module of its factory, and the classes of its layers but for torch's own.

    None if none of it has a source. What these call in other files is seen by the logits only.
    """
    sources = list(_sources(network, factory_module.partition(":")[0]))
    return hashlib.sha256("\0".join(sources).encode()).hexdigest() if sources else None


def _sources(network: nn.Module, factory_module: str) -> Iterator[str]:
    classes = {type(layer) for layer in network.modules() if type(layer).__module__.split(".")[0] != "torch"}
    in_order = sorted(classes, key=lambda each: (each.__module__, each.__qualname__))
    for thing in (sys.modules.get(factory_module), *in_order):
        try:
            yield inspect.getsource(thing)  # type: ignore[arg-type]
        except (OSError, TypeError):  # made at run time, or compiled
            continue
