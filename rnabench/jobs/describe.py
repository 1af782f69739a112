"""What a recipe's network looks like, without training it."""

from __future__ import annotations

from dataclasses import dataclass

from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.deployment import deploy
from rnabench.model.factory import build_model
from rnabench.norm.layers import Norm, norm_layers
from rnabench.settings.architectures import ARCHITECTURES
from rnabench.settings.datasets import DATASETS
from rnabench.settings.deployment import AS_TRAINED, Deployment, with_use
from rnabench.settings.spaces import parse_space
from rnabench.settings.training import TrainingSettings

ASSUMED_CLASSES = 10
SOURCES = {"sample": "of each image", "batch": "of the batch", "running": "running"}


@dataclass(frozen=True)
class Description:
    """A table of the normalisation layers (a column per option: its number of groups), and lines of totals."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    lines: list[str]


def describe_network(recipe: TrainingSettings, dataset: str, deployment: Deployment = AS_TRAINED) -> Description:
    """Build the network and count. A `*` marks a group count or size that was clipped to the layer's channels. Raises
    InvalidValue for a deployment that it cannot have."""
    data, architecture = DATASETS.get(dataset), ARCHITECTURES.get(recipe.arch)
    classes = data.class_count() or ASSUMED_CLASSES
    model = build_model(recipe.arch, recipe.space, classes, recipe.width, layer_based=recipe.layer_based)
    specs = parse_space(recipe.space).norms
    deployed = deploy(model, deployment, f"{recipe.arch} with space {recipe.space}")
    rows, clipped = [], 0
    layers = _norms(model)
    for name, norms in layers.items():
        channels = norms[0].channels
        if len(norms) < len(specs):
            rows.append((name, str(channels), *("always bn" for _ in specs)))
            continue
        cut = [spec.clipped(channels) for spec in specs]
        clipped += sum(cut)
        rows.append((name, str(channels), *(f"{n.groups}{'*' if c else ''}" for n, c in zip(norms, cut, strict=True))))
    width = recipe.width or architecture.width
    size = data.size or architecture.image_size
    free = "one draw for all layers" if recipe.layer_based else "one draw per layer"
    return Description(
        f"{recipe.arch}, width {width}, space {recipe.space}, {size}x{size} images, {classes} classes"
        f"{'' if data.class_count() else ' (assumed)'}; cells are numbers of groups",
        tuple(spec.label for spec in specs), rows,
        [
            f"choice layers: {len(model.space.layers)}, options per layer: {len(specs) if len(specs) > 1 else 1}, "
            f"paths: {model.space.count:,} ({free})",
            *([f"{with_use('deployed', deployment.changes())}: choice layers: {len(deployed.space.layers)}, paths: "
               f"{deployed.space.count:,}"] if deployed is not model else []),
            f"parameters: {sum(p.numel() for p in model.parameters()):,}",
            f"clipped groups (*): {clipped}",
            *(f"{spec.label}: {norm.summary}; {_statistics(norm.active)}"
              for spec, norm in zip(specs, next(iter(layers.values())), strict=True)),
        ],
    )


def _norms(model: RandomizedClassifier) -> dict[str, list[Norm]]:
    """The layers that stand where the original network has a BN, with their options."""
    layers: dict[str, list[Norm]] = {}
    for name, norm in norm_layers(model.network).items():
        layer = name.partition(".")[2]  # without the place behind the input normalisation
        layers.setdefault(layer.partition(".options.")[0], []).append(norm)
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
