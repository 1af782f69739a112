"""Build a network from the names that a recipe gives."""

from __future__ import annotations

from torch import nn

from rnabench.errors import InvalidValue
from rnabench.model.activations import use_activation
from rnabench.model.classifier import Granularity, RandomizedClassifier
from rnabench.model.defended import Undefended, defended
from rnabench.model.denoising import DenoiseAt, add_denoising
from rnabench.model.normalizers import InputNormalization, norm_factory
from rnabench.path.choice import choose_alike_within
from rnabench.seeding import derive, globals_at
from rnabench.settings.architectures import ARCHITECTURES, operators_of, space_of
from rnabench.settings.datasets import Channels, published_statistics
from rnabench.settings.parts import NONE, RELU


def build_model(
    arch: str = "resnet18",
    space: str = "bn+in",
    num_classes: int = 10,
    width: int | None = None,
    *,
    operators: int | None = None,
    activation: str = RELU,
    denoise: str = NONE,
    denoise_at: DenoiseAt = "stages",
    defence: str = NONE,
    mean: Channels | None = None,
    std: Channels | None = None,
    layer_based: bool = False,
    granularity: Granularity = "batch",
    seed: int = 0,
) -> RandomizedClassifier:
    """A freshly initialised network, in training mode, from [0, 1] images [N, 3, H, W] to logits [N, num_classes].

    `space` is in the grammar of `rnabench.settings.spaces`, "none" for an architecture without normalisation layers;
    `width` and `operators` (how many a choice layer of a super-network has) None are the architecture's own, and
    `mean`, `std` (of each channel in [0, 1]) None are CIFAR-10's. `activation`, `denoise` and `defence` are in the
    grammar of `rnabench.settings.parts`. `layer_based` draws one choice for all layers (Table 5). The weights depend on
    `seed` alone, those of the network itself neither on denoising blocks nor on a defence that leaves them as they are.
    Raises InvalidValue.
    """
    architecture = ARCHITECTURES.get(arch)
    norms, count = space_of(arch, space), operators_of(arch, operators)
    if num_classes < 2:
        raise InvalidValue("num_classes", num_classes, "at least 2")
    for name, number in (("width", width), ("operators", operators)):
        if number is not None and number < 1:
            raise InvalidValue(name, number, "at least 1")
    if mean is None or std is None:
        cifar10 = published_statistics("cifar10")
        mean, std = mean or cifar10[0], std or cifar10[1]

    def another() -> nn.Module:
        network: nn.Module = architecture.build(norm_factory(norms), num_classes, width or architecture.width,
                                                **({} if count is None else {"operators": count}))
        add_denoising(network, denoise, denoise_at, arch)  # drawn behind the network's own weights
        return network

    with globals_at(derive(seed, "initial weights")):  # from which torch's initialisers draw
        network = defended(Undefended(InputNormalization(mean, std), another(), another, arch), defence)
    use_activation(network, activation, arch)
    choose_alike_within(network)
    return RandomizedClassifier(network, seed, granularity, layer_based)
