"""Weights of a run folder: written and read as safetensors, never unpickled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from rnabench.errors import CheckpointError, InvalidValue
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.factory import build_model
from rnabench.model.runs import RUN_FILE, WEIGHTS, read_run
from rnabench.runtime.files import sha256, write_bytes
from rnabench.settings.architectures import ARCHITECTURES, operators_of
from rnabench.settings.parts import unusual_parts, with_parts
from rnabench.settings.training import TrainingSettings

FLOATS = torch.float32, torch.float64, torch.float16, torch.bfloat16  # weights and statistics may be any of them
COUNTS = torch.int64, torch.int32


def save_weights(model_state: dict[str, Any], folder: Path) -> None:
    """Write `model.safetensors` atomically."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model_state.items()}
    write_bytes(folder / WEIGHTS, save(tensors, metadata={"format": "rnabench"}))


def rounded_state(model: RandomizedClassifier) -> dict[str, Tensor]:
    """Its state with the weights of convolutions and linear layers in bfloat16, which are nearly all of it; all else,
    what normalises in the first place, keeps its format."""
    layers = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))}
    return {name: tensor.bfloat16() if name in layers else tensor for name, tensor in model.state_dict().items()}


def describe_model(
    model: RandomizedClassifier, settings: TrainingSettings, classes: Sequence[str], mean: Sequence[float],
    std: Sequence[float],
) -> dict[str, Any]:
    """The part "model" of a run.json: what `load_model` builds the network from, and its counts."""
    arch, operators = settings.arch, operators_of(settings.arch, settings.operators)
    of_super_network = {} if operators is None else {"operators": operators}
    return {
        "arch": arch, "space": settings.space, "width": settings.width or ARCHITECTURES[arch].width,
        **of_super_network, **unusual_parts(settings.network), "classes": list(classes),
        "mean": list(mean), "std": list(std),
        "layer_based": model.layer_based, "granularity": model.granularity,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "paths": model.space.count_in_digits, "choice_layers": len(model.space.layers),
    }


def load_model(run_folder: str | Path) -> RandomizedClassifier:
    """The trained network of a run folder, in eval mode: [0, 1] images [N, 3, H, W] to logits [N, classes].

    Raises CheckpointError if a file is missing, damaged or foreign, or holds weights of another architecture, space,
    number of operators, activation, denoising block or defence.
    """
    folder = Path(run_folder)
    run = read_run(folder)
    described = run["model"]
    file = folder / WEIGHTS
    try:
        with torch.device("meta"):  # a network that does not fit the weights may not fit into memory
            expected = _built(described).state_dict()
    except InvalidValue as error:
        raise CheckpointError(f"run: {str(folder / RUN_FILE)!r} is damaged (model.{error})") from None
    if not file.is_file():
        raise CheckpointError(f"run: {str(folder)!r} has no {WEIGHTS}; expected a finished run; the same "
                              "`rnabench train` command goes on where it stopped")
    try:
        weights = load_file(file)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"run: {str(file)!r} is truncated or not a safetensors file ({error})") from None
    if run.get("weights_sha256", digest := sha256(file)) != digest:
        raise CheckpointError(f"run: {str(file)!r} is not the file that this run wrote (its hash differs from that in "
                              f"{RUN_FILE}); expected the weights of {_in_words(described)}")
    check_weights(expected, weights, _in_words(described), file)
    model = _built(described)
    model.load_state_dict(weights)
    return model.eval()


def _built(described: Mapping[str, Any]) -> RandomizedClassifier:
    """The network that the part "model" of a run.json describes. Raises InvalidValue."""
    return build_model(
        described["arch"], described["space"], len(described["classes"]), described["width"],
        operators=described.get("operators"), **unusual_parts(described),
        mean=tuple(described["mean"]), std=tuple(described["std"]),
        layer_based=described["layer_based"], granularity=described["granularity"],
    )


def _in_words(described: Mapping[str, Any]) -> str:
    """Which network the part "model" of a run.json describes."""
    operators = f"{described['operators']} operators and " if "operators" in described else ""
    return with_parts(f"{described['arch']} with {operators}space {described['space']}", described)


def check_weights(expected: dict[str, torch.Tensor], found: dict[str, torch.Tensor], what: str, file: Path) -> None:
    """Raises CheckpointError, naming the first tensor in question, unless names, shapes and kinds of numbers agree."""
    for name in [*expected, *found]:
        here, there = expected.get(name), found.get(name)
        if here is None or there is None or here.shape != there.shape:
            shapes = [tuple(t.shape) if t is not None else "absent" for t in (there, here)]
            raise CheckpointError(f"run: {str(file)!r} holds weights of another network; expected {what}: "
                                  f"{name!r} is {shapes[0]} there and {shapes[1]} here")
        if fault := wrong_numbers(there, here):
            raise CheckpointError(f"run: {str(file)!r} does not hold the weights of {what}: {name!r} {fault}")


def wrong_numbers(found: torch.Tensor, expected: torch.Tensor) -> str:
    """What is wrong with the kind of numbers that would fill `expected`; nothing for FLOATS in place of floats and
    COUNTS in place of counts. Others would be cast without a word (int8 and float8 need a scale that is not there)."""
    allowed = FLOATS if expected.is_floating_point() else COUNTS
    if found.dtype in allowed:
        return ""
    return f"holds {_name(found.dtype)} numbers; expected one of {', '.join(map(_name, allowed))}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
