"""Weights of somebody's file, for somebody's network: read as tensors and nothing else."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from rnabench.errors import ModelError
from rnabench.model.saved import wrong_numbers

NESTED = ("state_dict", "model", "net")  # keys under which a training script may have put it
PREFIX = "module."  # what DataParallel puts before all names


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by name: the state_dict without what else modules may put there."""
    return {name: tensor for name, tensor in network.state_dict().items() if isinstance(tensor, Tensor)}


def fill(network: nn.Module, file: Path, word: str) -> None:
    """Load a .safetensors file, or a state_dict that torch.save wrote (bare or under a key of NESTED), into a network
    of just these tensors; `word` is what errors call it. Nothing but tensors and plain containers is unpickled.

    Raises ModelError, with the nearest name for one that does not fit.
    """
    found, expected = _read(file, word), tensors_of(network)
    if found and all(name.startswith(PREFIX) for name in found) and not any(
            name.startswith(PREFIX) for name in expected):
        found = {name.removeprefix(PREFIX): tensor for name, tensor in found.items()}
    _check_names(found, expected, file, word)
    for name, tensor in expected.items():
        there = found[name]
        if there.shape != tensor.shape:
            raise ModelError(f"{word}: {str(file)!r} holds {name!r} of shape {list(there.shape)}; expected "
                             f"{list(tensor.shape)}, as the network has it")
        if fault := wrong_numbers(there, tensor):
            raise ModelError(f"{word}: {str(file)!r}: {name!r} {fault}")
    network.load_state_dict(found, strict=False)  # all names were compared; what is no tensor stays as it is


def _read(file: Path, word: str) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings(action="ignore"):  # about the pickle's version
            content = load_file(file) if file.suffix == ".safetensors" else torch.load(
                file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file may raise anything
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ModelError(f"{word}: {str(file)!r} cannot be read as tensors ({reason}); expected a .safetensors file or "
                         "a state_dict written by torch.save, without other objects") from None
    if isinstance(content, Mapping):
        content = next((content[key] for key in NESTED if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or not all(
            isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()):
        raise ModelError(f"{word}: {str(file)!r} holds no state_dict; expected tensors by name and nothing else")
    return dict(content)


def _check_names(found: Iterable[str], expected: Iterable[str], file: Path, word: str) -> None:
    there, here = list(found), list(expected)
    for name in here:
        if name not in there:
            left = [other for other in there if other not in here]
            raise ModelError(f"{word}: {str(file)!r} lacks {name!r}; expected all tensors of the network"
                             f"{_nearest(name, left or there)}")
    for name in there:
        if name not in here:
            raise ModelError(f"{word}: {str(file)!r} holds {name!r}, which the network does not have; expected its "
                             f"tensors and nothing else{_nearest(name, here)}")


def _nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0)
    return f"; the nearest name is {near[0]!r}" if near else ""
