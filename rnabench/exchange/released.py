"""Weights of released files: read without unpickling, matched name by name, and written.

In a released file BatchNorm2d and GroupNorm keep torch's shapes; a BGN keeps weight and bias as [1, C, 1, 1],
running statistics as [groups], and no counter. An InstanceNorm2d without scale and shift, our `in-plain`, has no
tensors at all. Option k of a layer is the k-th normaliser of the space.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from rnabench.errors import CheckpointError, InvalidValue
from rnabench.exchange.names import RELEASED, SCHEMES, released_names, scheme
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.saved import wrong_numbers
from rnabench.norm.group_norm import GroupNorm
from rnabench.norm.layers import BatchGroupNorm, norm_layers

NESTED = ("state_dict", "net", "model")
SHOWN = 3  # names of a kind that an error lists
COUNTER = ".num_batches_tracked"


def read_released(file: Path) -> dict[str, Tensor]:
    """The tensors of a `state_dict`, bare or under one of the keys of NESTED, or of a .safetensors file, named as
    DataParallel names them.

    Nothing but tensors and plain containers is unpickled. Raises CheckpointError.
    """
    if not file.is_file():
        raise CheckpointError(f"convert: {str(file)!r} is not a file; expected a state_dict written by torch.save")
    try:
        with warnings.catch_warnings(action="ignore"):  # about the pickle's version; what is read is checked below
            content = load_file(file) if file.suffix == ".safetensors" else torch.load(
                file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file may raise anything
        raise CheckpointError(f"convert: {str(file)!r} cannot be read as tensors ({_reason(error)}); expected a "
                              "state_dict written by torch.save, without other objects") from None
    if isinstance(content, Mapping):
        content = next((content[key] for key in NESTED if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"convert: {str(file)!r} holds no state_dict; expected tensors by name, bare or under "
                              f"one of {', '.join(NESTED)}")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"convert: {str(file)!r} holds {name!r}, which is {type(value).__name__}; expected "
                                  "tensors by name and nothing else")
        if not _is_plain(value):
            raise CheckpointError(f"convert: {str(file)!r} holds {name!r} in a form that is no plain tensor; expected "
                                  "dense numbers")
    wrapped = any(name.startswith(RELEASED) for name in content)
    return {name if wrapped else RELEASED + name: value.detach() for name, value in content.items()}


def _is_plain(value: Tensor) -> bool:
    """Dense numbers that the file holds in full: a few bytes may claim to be a tensor of any size."""
    if value.layout != torch.strided or value.is_meta or value.is_quantized or value.is_complex():
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def _reason(error: Exception) -> str:
    """Which object a pickle asks for, where torch says so; otherwise the kind of error (its advice is to unpickle)."""
    unwanted = re.search(r"GLOBAL ([\w.]+\w)", str(error))
    return f"it asks for the object {unwanted[1]}" if unwanted else type(error).__name__


def released_size(tensors: Mapping[str, Tensor], arch: str) -> tuple[int | None, int | None]:
    """Width and number of classes, each None where the tensor that tells it is absent.

    Raises InvalidValue for an architecture without released names.
    """
    names = scheme(arch)
    first, last = (tensors.get(name) for name in (names.first, names.last))
    width = len(first) // names.unit if first is not None and first.dim() else None
    return width or None, len(last) if last is not None and last.dim() else None


def load_released(model: RandomizedClassifier, tensors: Mapping[str, Tensor], arch: str, space: str, file: Path
                   ) -> list[str]:
    """Fill a fresh `model`; returns what was not in the file, in words.

    Only the counters of batch normalisations may be absent: nothing depends on them at inference. Raises
    CheckpointError if any other tensor is missing, if one is not used, or if shapes differ.
    """
    state = model.state_dict()
    names = released_names(arch, state)
    counters = {name for name in names if name.endswith(COUNTER)}
    flattened = {f"{name}.{part}" for name, module in model.named_modules() if isinstance(module, BatchGroupNorm)
                 for part in ("weight", "bias")}
    found = {name: tensors[released] for name, released in names.items() if released in tensors}
    wrong = [f"{names[name]!r} {fault}" for name, tensor in found.items()
             if (fault := _fault(tensor, state[name], name in flattened))]
    missing = [names[name] for name in names if name not in found and name not in counters]
    known = set(names.values())
    unused = [name for name in tensors if name not in known]
    if missing or unused or wrong:
        complaints = {"missing": [repr(name) for name in missing], "not used": [repr(name) for name in unused],
                      "wrong": wrong}
        lists = "; ".join(f"{what}: {_few(listed)}" for what, listed in complaints.items() if listed)
        raise CheckpointError(f"convert: {str(file)!r} does not hold the weights of {arch} with space {space} "
                              f"({lists}); expected each tensor of that network once"
                              f"{_hint(model, tensors, arch, space, set(missing), set(unused))}")
    model.load_state_dict(state | {name: tensor.reshape(state[name].shape) for name, tensor in found.items()})
    lacking = counters - found.keys()
    return [f"{len(lacking)} counters {COUNTER[1:]}: set to 0, no result depends on them"] if lacking else []


def released_state(model: RandomizedClassifier, arch: str) -> dict[str, Tensor]:
    """The network's tensors under their released names; a BGN of one channel per group is a BatchNorm2d there.

    The input normalisation and the counters of other BGNs have no place in it. Raises InvalidValue for an architecture
    or a normaliser that the released code does not have.
    """
    for norm in norm_layers(model).values():
        if norm.family is None:
            raise InvalidValue("layer", type(norm).__name__, "GN and BGN alone, the normalisers of the released code")
    grouped = {name: module for name, module in model.named_modules()
               if isinstance(module, BatchGroupNorm) and module.group_size > 1}
    state = model.state_dict()
    written = {}
    for name, released in released_names(arch, state).items():
        module, _, part = name.rpartition(".")
        if module not in grouped:
            written[released] = state[name]
        elif part in ("weight", "bias"):
            written[released] = state[name].view(1, -1, 1, 1)
        elif f".{part}" != COUNTER:
            written[released] = state[name]
    return written


def _fault(tensor: Tensor, target: Tensor, flattened: bool) -> str:
    """What keeps `tensor` from filling `target`; `flattened`: [1, C, 1, 1] may stand for [C]."""
    allowed = [tuple(target.shape)] + ([(1, *target.shape, 1, 1)] if flattened else [])
    if tuple(tensor.shape) not in allowed:
        return f"is {tuple(tensor.shape)} instead of {' or '.join(map(str, allowed))}"
    if fault := wrong_numbers(tensor, target):
        return fault
    if not bool(tensor.to(target.dtype).isfinite().all()):
        return "holds numbers that are not finite"
    return ""


def _few(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _hint(model: RandomizedClassifier, tensors: Mapping[str, Tensor], arch: str, space: str, missing: set[str],
          unused: set[str]) -> str:
    """The option that is probably wrong."""
    fitting = [other for other, names in SCHEMES.items() if {names.first, names.last} <= tensors.keys()]
    if fitting and arch not in fitting:
        return f"; did you mean --arch {fitting[0]}?"
    terms = space.split("+")
    for term, other, amiss in (("in", "in-plain", missing), ("in-plain", "in", unused)):
        if term in terms and amiss == _scales_and_shifts(model, arch, terms.index(term), len(terms)):
            meant = "+".join(other if norm == term else norm for norm in terms)
            has = "no" if other == "in-plain" else "a"
            return f"; the file's instance normalisation has {has} scale and shift: did you mean --space {meant}?"
    numbers = [int(found[1]) for name in tensors if (found := re.search(r"\.norm\.(\d{1,4})\.", name))]
    there = max(numbers, default=0) + 1
    return "" if there == len(terms) else f"; layers of the file have {there} options, those of --space {len(terms)}"


def _scales_and_shifts(model: RandomizedClassifier, arch: str, number: int, options: int) -> set[str]:
    """The released names that the scales and shifts of this option, a GN, have (or would have)."""
    layers = [name for name, module in model.named_modules() if isinstance(module, GroupNorm)
              and (options == 1 or name.endswith(f".options.{number}"))]
    return set(released_names(arch, [f"{name}.{part}" for name in layers for part in ("weight", "bias")]).values())
