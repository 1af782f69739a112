"""From a run folder to files that other programs read."""

from __future__ import annotations

import copy
import json
import warnings
from io import BytesIO
from pathlib import Path as File

import torch
from torch import Tensor, nn

from rnabench.errors import InvalidValue
from rnabench.exchange.released import released_state
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.runs import read_run
from rnabench.model.saved import load_model
from rnabench.norm.layers import norm_layers
from rnabench.path.choice import ChoiceLayer, use_path
from rnabench.path.path import Path
from rnabench.path.seeds import SeedLayer
from rnabench.runtime.files import write_bytes
from rnabench.seeding import stream
from rnabench.settings.architectures import ARCHITECTURES
from rnabench.settings.datasets import DATASETS
from rnabench.settings.parts import PARTS, unusual_parts, with_parts


def frozen(model: RandomizedClassifier, path: Path) -> nn.Module:
    """A network in eval mode, [0, 1] images [N, 3, H, W] to logits: `model.eval().on(path)` to float precision.

    It shares no tensor with `model`. Raises InvalidValue for a path that does not fit or has several rows.
    """
    if path.per_sample:
        raise InvalidValue("path", f"{len(path.rows)} rows", "1 row")
    network = copy.deepcopy(model.network)
    with use_path(network, path):
        network = _chosen(network)
    for name, norm in norm_layers(network).items():
        network.set_submodule(name, norm.plain())
    return network.eval()


def _chosen(module: nn.Module) -> nn.Module:
    """The module with the current option in the place of every choice layer in it, also of those within options, and
    with the current seed in those that choose one."""
    while isinstance(module, ChoiceLayer):
        assert isinstance(module.current, int)
        module = module.options[module.current]
    if isinstance(module, SeedLayer):
        assert isinstance(module.current, int)
        module.fixed = module.current
    for name, child in list(module.named_children()):
        module.set_submodule(name, _chosen(child))
    return module


ABOUT = "rnabench.json"


def export_state(folder: File, released: bool, out: File) -> int:
    """Write the whole network as a plain `state_dict`, under our names or the released ones; returns how many tensors.

    It is loadable with `weights_only=True`. Raises CheckpointError, and InvalidValue for an architecture without
    released names or an `out` that is there.
    """
    _check_free(out)
    model = load_model(folder)
    state: dict[str, Tensor] = model.state_dict()
    if released:
        described = read_run(folder)["model"]
        for name, value in unusual_parts(described).items():
            raise InvalidValue(name, value, f"{PARTS[name]!r}, as all that the released code has")
        state = released_state(model, described["arch"])
    torch.save({name: tensor.contiguous() for name, tensor in state.items()}, content := BytesIO())
    write_bytes(out, content)
    return len(state)


def export_torchscript(folder: File, path: str | None, seed: int, out: File) -> str:
    """Write one path as TorchScript, [0, 1] images [N, 3, H, W] to logits, any N; returns the path in words.

    `path` is in the form of `PathSpace.parse`; None draws one from the stream of `seed`. The file's extra file
    `rnabench.json` says what it is. Raises CheckpointError, and InvalidValue for a network with a part that works image
    by image outside of torch, for a path that the network does not have, or an `out` that is there.
    """
    _check_free(out)
    model, run = load_model(folder), read_run(folder)
    if model.on_host:  # the trace would hold what it made of one batch of images, and say it of all
        raise InvalidValue("--format", "torchscript", "'state-dict' for "
                           f"{with_parts(run['model']['arch'], run['model'])}, a part of which is not torch's")
    if not model.space.is_random and path is not None:
        raise InvalidValue("--path", path, "no path: this network has a single one")
    chosen = model.space.parse(path) if path is not None else model.space.sample(stream(seed, "export"))
    dataset = run["recipe"].get("dataset")  # a part that resizes images is traced for one size
    size = (DATASETS[dataset].size if dataset in DATASETS else None) or ARCHITECTURES[run["model"]["arch"]].image_size
    about = {"model": run["model"], "digest": run.get("digest"), "weights_sha256": run.get("weights_sha256"),
             "path": str(chosen)}
    with warnings.catch_warnings(action="ignore"):  # torch is leaving TorchScript; group_norm's check is about sizes
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            frozen(model, chosen), torch.rand(2, 3, size, size), check_trace=False)
        torch.jit.save(traced, content := BytesIO(), _extra_files={ABOUT: json.dumps(about)})
    write_bytes(out, content)
    return f"path {chosen}" if model.space.is_random else "its only path"


def _check_free(out: File) -> None:
    if out.exists():
        raise InvalidValue("--out", str(out), "a file that is not there yet")
