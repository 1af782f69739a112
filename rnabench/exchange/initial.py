"""Pretrained weights as the start of a training: torchvision's, or a file of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from rnabench.errors import CheckpointError, InvalidValue
from rnabench.exchange.names import OURS, released_names, scheme
from rnabench.exchange.released import COUNTER, read_released
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.saved import wrong_numbers
from rnabench.norm.statistics import pooled
from rnabench.runtime.files import sha256
from rnabench.settings.initial import TORCHVISION

SHOWN = 3  # names that an error lists


def initial_file(init: str) -> Path:
    """The file of the weights: the one that is named, or torchvision's in torch's cache, downloaded if need be.

    Raises InvalidValue for a name that torchvision does not have, and CheckpointError for a file that is not there and
    cannot be downloaded, or is not the one that its name promises.
    """
    if not init.startswith(TORCHVISION):
        return Path(init)
    from torchvision.models import get_model_weights, get_weight, list_models

    name = init.removeprefix(TORCHVISION)
    try:
        url: str = get_weight(name).url
    except (KeyError, ValueError):
        known = [str(each) for model in list_models() for each in get_model_weights(model)]
        raise InvalidValue("--init", name, "weights that torchvision has, such as ResNet50_Weights.IMAGENET1K_V1",
                           known) from None
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    promised = file.stem.rpartition("-")[2]  # the first digits of its hash, as torch names such files
    if not file.is_file():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), promised, progress=False)
        except (OSError, RuntimeError) as error:  # no network, or another file than promised
            raise CheckpointError(f"--init: {name} is not in torch's cache and cannot be downloaded "
                                  f"({' '.join(str(error).split())}); expected {url} as {str(file)!r}") from None
    if not sha256(file).startswith(promised):
        raise CheckpointError(f"--init: {str(file)!r} is damaged or another file; expected one whose sha256 begins "
                              f"with {promised}, from {url}")
    return file


def initial_state(model: RandomizedClassifier, arch: str, init: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors that a network starts with, from weights of the same architecture, and where they are from.

    A file of one normaliser per place serves every space: each option of a choice starts with the scale and shift of
    that place, and each that keeps running statistics with those, pooled by groups (law of total variance). Input
    normalisation is the network's own. Raises InvalidValue for an architecture without known names or for weights of
    another number of classes, and CheckpointError for other files than weights of this architecture.
    """
    names = scheme(arch)
    file = initial_file(init)
    try:
        tensors = read_released(file)
    except CheckpointError as error:
        raise CheckpointError(f"--init{str(error).removeprefix('convert')}") from None
    state = model.state_dict()
    plain = {name: re.sub(r"\.options\.\d+", "", name) for name in state if name.startswith(OURS)}
    released = released_names(arch, {*plain, *plain.values()})
    source = {name: released[name] if released[name] in tensors else released[plain[name]] for name in plain}
    ours = {other: name for name, other in source.items()}
    if names.last in ours and names.last in tensors:
        there, here = tensors[names.last], state[ours[names.last]]
        if there.dim() and len(there) != len(here):
            raise InvalidValue("--init", init, f"weights for {len(here)} classes, as many as the data set has; these "
                               f"tell {len(there)} apart")
    found = {name: _fitted(tensors, source[name], state[name]) for name in source if source[name] in tensors}
    found = {name: tensor if tensor is not None and _is_usable(name, tensor) else None
             for name, tensor in found.items()}
    missing = [source[name] for name in source if name not in found and not name.endswith(COUNTER)]
    wrong = [source[name] for name, tensor in found.items() if tensor is None]
    unused = [name for name in tensors if name not in source.values() and not name.endswith(STATISTICS)]
    for what, listed in (("missing", missing), ("of another shape or kind", wrong), ("not used", unused)):
        if listed:
            more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
            names_told = ", ".join(map(repr, listed[:SHOWN])) + more
            raise CheckpointError(f"--init: {init!r} does not hold weights of {arch} ({what}: {names_told}); expected "
                                  "each tensor of that network")
    return {name: tensor for name, tensor in found.items() if tensor is not None}, {
        "from": init if init.startswith(TORCHVISION) else file.name, "sha256": sha256(file)}


STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # which a norm of single images has no use for


def _is_usable(name: str, tensor: Tensor) -> bool:
    """Whether a network can compute with it: in its own numbers, and after pooling."""
    return bool(tensor.isfinite().all()) and not (name.endswith("running_var") and bool((tensor < 0).any()))


def _fitted(tensors: Mapping[str, Tensor], name: str, target: Tensor) -> Tensor | None:
    """A tensor of the file in the shape of ours; None if it cannot have that."""
    tensor = tensors[name]
    if wrong_numbers(tensor, target):
        return None
    if tensor.shape in (target.shape, (1, *target.shape, 1, 1)):  # a released BGN's scale and shift
        return tensor.reshape(target.shape).to(target.dtype)
    base, _, part = name.rpartition(".")
    mean, var = (tensors.get(f"{base}.{each}") for each in STATISTICS[:2])
    if part not in STATISTICS[:2] or mean is None or var is None or mean.dim() != 1 or mean.shape != var.shape or len(
            mean) % len(target):
        return None
    moments = pooled(mean.double().view(len(target), -1), var.double().view(len(target), -1), (1,))
    return moments[STATISTICS.index(part)].to(target.dtype)
