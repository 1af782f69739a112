"""Build a network from the names that a recipe gives."""

from __future__ import annotations

import torch
from torch import nn

from rnabench.errors import InvalidValue
from rnabench.model.classifier import Granularity, RandomizedClassifier
from rnabench.model.normalizers import InputNormalization, norm_factory
from rnabench.seeding import derive
from rnabench.settings.architectures import architecture
from rnabench.settings.spaces import parse_space

CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)


def build_model(
    arch: str = "resnet18",
    space: str = "bn+in",
    num_classes: int = 10,
    width: int | None = None,
    *,
    mean: tuple[float, ...] = CIFAR10_MEAN,
    std: tuple[float, ...] = CIFAR10_STD,
    layer_based: bool = False,
    granularity: Granularity = "batch",
    seed: int = 0,
) -> RandomizedClassifier:
    """A freshly initialised network, in training mode, from [0, 1] images [N, 3, H, W] to logits [N, num_classes].

    `space` is in the grammar of `rnabench.settings.spaces`; `width` None is the architecture's own. `layer_based` draws
    one choice for all layers (Table 5). The weights depend on `seed` alone. Raises InvalidValue.
    """
    known = architecture(arch)
    norms = parse_space(space)
    if num_classes < 2:
        raise InvalidValue("num_classes", num_classes, "at least 2")
    if width is not None and width < 1:
        raise InvalidValue("width", width, "at least 1")
    with torch.random.fork_rng(devices=[]):  # torch's initialisers draw from the global generator
        torch.default_generator.manual_seed(derive(seed, "initial weights"))
        network = known.builder()(norm_factory(norms), num_classes, width or known.width)
    return RandomizedClassifier(
        nn.Sequential(InputNormalization(mean, std), network), seed, granularity, layer_based
    )
