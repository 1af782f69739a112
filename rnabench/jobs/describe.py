"""What a recipe's network looks like, without training it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.deployment import deploy
from rnabench.model.factory import build_model
from rnabench.model.operators import OperatorChoice
from rnabench.norm.layers import Norm, norm_layers
from rnabench.path.space import PathSpace
from rnabench.settings.architectures import ARCHITECTURES, operators_of, space_of
from rnabench.settings.datasets import DATASETS
from rnabench.settings.deployment import AS_TRAINED, Deployment, with_use
from rnabench.settings.parts import with_parts
from rnabench.settings.spaces import NORMS
from rnabench.settings.training import TrainingSettings

ASSUMED_CLASSES = 10
SOURCES = {"sample": "of each image", "batch": "of the batch", "running": "running"}


@dataclass(frozen=True)
class Description:
    """A table of the layers that choose or normalise (a column per normaliser: its number of groups), the first
    `text_columns` of its columns being texts, and lines of totals; the `document` says the same for programs, numbers
    of paths as texts, which no program rounds."""

    title: str
    headings: tuple[str, ...]
    text_columns: int
    rows: list[tuple[str, ...]]
    lines: list[str]
    document: dict[str, Any]


@dataclass
class _Layer:
    """A place in the network: the names of the operators there, if it is a choice among those, and the options of its
    normalisation layer (of one operator's: the others' are like it), if it has one."""

    channels: int | None
    operators: tuple[str, ...]
    norms: list[Norm]


def describe_network(recipe: TrainingSettings, dataset: str, deployment: Deployment = AS_TRAINED) -> Description:
    """Build the network and count. A `*` marks a group count or size that was clipped to the layer's channels. Raises
    InvalidValue for a deployment that it cannot have."""
    data, architecture = DATASETS.get(dataset), ARCHITECTURES.get(recipe.arch)
    classes = data.class_count() or ASSUMED_CLASSES
    with torch.device("meta"):  # what is counted needs no numbers
        model = build_model(**recipe.network, num_classes=classes)
        deployed = deploy(model, deployment, f"{recipe.arch} with space {recipe.space}")
    specs, layers = space_of(recipe.arch, recipe.space).norms, _layers(model)
    with_operators = any(layer.operators for layer in layers.values())
    kinds: list[Any] = [NORMS[spec.name] for spec in specs]
    rows, described, clipped = [], list[dict[str, Any]](), 0
    for name, layer in layers.items():
        named = [", ".join(layer.operators) or "-"] if with_operators else []
        groups: dict[str, int] | None = None
        if not name:  # a choice among whole networks
            cells = ["-" for _ in specs]
        elif [type(norm) for norm in layer.norms] != kinds:
            cells = ["always bn" for _ in specs]
        else:
            cut = [spec.clipped(norm.channels) for spec, norm in zip(specs, layer.norms, strict=True)]
            clipped += sum(cut)
            cells = [f"{n.groups}{'*' if c else ''}" for n, c in zip(layer.norms, cut, strict=True)]
            groups = {spec.label: norm.groups for spec, norm in zip(specs, layer.norms, strict=True)}
        rows.append((name or "network", *named, str(layer.channels or "-"), *cells))
        described.append({"layer": name or "network", "operators": layer.operators, "channels": layer.channels,
                          "groups": groups})
    shown = next((layer.norms for layer in layers.values() if layer.norms), []) if specs else []
    operators = operators_of(recipe.arch, recipe.operators)
    counted = "" if operators is None else f"{operators} operator{'s' * (operators > 1)}, "
    size = data.size or architecture.image_size
    sizes = sorted({len(names) for names in model.space.options}) or [1]
    options = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else sizes[0]
    free = "one draw for all layers" if recipe.layer_based else "one draw per layer"
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Description(
        f"{recipe.arch}, width {recipe.width or architecture.width}, "
        f"{counted}{with_parts(f'space {recipe.space}', recipe.network)}, {size}x{size} images, "
        f"{classes} classes{'' if data.class_count() else ' (assumed)'}"
        f"{'; cells are numbers of groups' if specs else ''}",
        ("layer", *(["operators"] if with_operators else []), "channels", *(spec.label for spec in specs)),
        2 if with_operators else 1, rows,
        [
            f"choice layers: {len(model.space.layers)}, options per layer: {options}, paths: "
            f"{_counted(model.space)} ({free})",
            *([f"{with_use('deployed', deployment.changes())}: choice layers: {len(deployed.space.layers)}, paths: "
               f"{_counted(deployed.space)}"] if deployed is not model else []),
            f"parameters: {parameters:,}",
            f"clipped groups (*): {clipped}" if specs else "no normalisation layers",
            *(f"{spec.label}: {norm.summary}; {_statistics(norm.active)}"
              for spec, norm in zip(specs, shown, strict=True)),
        ],
        {"arch": recipe.arch, "width": recipe.width or architecture.width, "space": recipe.space, "classes": classes,
         "image_size": size, "parameters": parameters, "clipped": clipped, "layers": described,
         "as_trained": _of_space(model.space), "deployed": _of_space(deployed.space)},
    )


def _of_space(space: PathSpace) -> dict[str, Any]:
    return {"choice_layers": len(space.layers), "options": [len(names) for names in space.options],
            "paths": space.count_in_digits}


def _counted(space: PathSpace) -> str:
    digits = space.count_in_digits
    return f"{space.count:,}" if len(digits) <= 30 else f"about 10^{len(digits) - 1}"


def _layers(model: RandomizedClassifier) -> dict[str, _Layer]:
    """The layers that are choices among operators, or stand where the original network has a BN."""
    def place(name: str) -> str:  # without what is in front of the input normalisation, and inside of a choice
        return name.partition(".")[2].partition(".options.")[0]

    layers, norms_at = dict[str, _Layer](), dict[str, list[Norm]]()
    for name, norm in norm_layers(model.network).items():
        norms_at.setdefault(place(name), []).append(norm)
    for name, module in model.network.named_modules():
        if isinstance(module, OperatorChoice):
            norms = norms_at.get(place(name), [])
            weights = [len(each) for each in module.parameters()]
            channels = norms[0].channels if norms else next(iter(weights), None)
            layers[place(name)] = _Layer(channels, module.names, norms[: len(norms) // len(module.names)])
        elif place(name) in norms_at and place(name) not in layers:
            norms = norms_at[place(name)]
            layers[place(name)] = _Layer(norms[0].channels, (), norms)
    return layers


def _statistics(norm: Norm) -> str:
    """Which statistics it takes, and where from."""
    words = []
    for sources in dict.fromkeys(norm.sources.values()):
        names = ", ".join(name for name, pair in norm.sources.items() if pair == sources)
        training, inference = (SOURCES[source] for source in sources)
        words.append(f"{names} {training}" + (f" ({inference} at inference)" if inference != training else ""))
    mates = any(inference == "batch" for _, inference in norm.sources.values())
    return (" and ".join(words) or "no statistics") + (": predictions depend on batch mates" if mates else "")
