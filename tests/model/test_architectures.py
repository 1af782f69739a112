"""What holds of every architecture, and the sizes that their papers give."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rnabench import build_model
from rnabench.errors import InvalidSettings, InvalidValue
from rnabench.jobs.train import run_name
from rnabench.norm.layers import BatchGroupNorm, norm_layers
from rnabench.settings.architectures import ARCHITECTURES
from rnabench.settings.base import from_options
from rnabench.settings.recipe import Defined
from rnabench.settings.training import TrainingSettings

SMALL = {name: 6 if "lenet" in name else 1 if name == "wrn32" else 4 for name in ARCHITECTURES if name != "resnet50"}


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def conv_and_norm(inputs: int, outputs: int, kernel: int) -> int:
    return inputs * outputs * kernel**2 + 2 * outputs


def three_stages(blocks: int) -> int:
    """A ResNet of 16, 32 and 64 channels with basic blocks, and 1x1 convolutions where the shape changes."""
    total, inputs = conv_and_norm(3, 16, 3) + 64 * 10 + 10, 16
    for outputs in (16, 32, 64):
        total += conv_and_norm(inputs, outputs, 3) + (2 * blocks - 1) * conv_and_norm(outputs, outputs, 3)
        total += conv_and_norm(inputs, outputs, 1) if inputs != outputs else 0
        inputs = outputs
    return total


def three_stages_of_bottlenecks(blocks: int) -> int:
    total, inputs = conv_and_norm(3, 16, 3) + 256 * 10 + 10, 16
    for width in (16, 32, 64):
        for block in range(blocks):
            total += conv_and_norm(inputs, width, 1) + conv_and_norm(width, width, 3)
            total += conv_and_norm(width, 4 * width, 1) + (0 if block else conv_and_norm(inputs, 4 * width, 1))
            inputs = 4 * width
    return total


@pytest.mark.parametrize(("arch", "count"), [
    ("resnet20", three_stages(3)), ("resnet38", three_stages(6)), ("resnet50-cifar", three_stages_of_bottlenecks(8)),
    # published of VGGs with BN and a head of 512-512-10
    ("vgg11", 9_756_426), ("vgg16", 15_253_578), ("rs-resnet18", 76_876_618)])
def test_numbers_of_parameters(arch: str, count: int) -> None:
    assert parameters(build_model(arch, "gn32" if arch.startswith("rs-") else "bn")) == count


def test_published_sizes() -> None:
    """ResNet-20: 0.27 M; WRN-16-10: 17.1 M; LeNet-5 and the SORS paper's super-network of it: 44,426 and 0.177 M."""
    assert round(parameters(build_model("resnet20", "bn")) / 1e6, 2) == 0.27
    assert round(parameters(build_model("wrn16", "bn")) / 1e6, 1) == 17.1
    assert parameters(build_model("lenet5", "none")) == 44_426
    assert parameters(build_model("rs-lenet5", "none")) == 4 * 44_426 == 177_704


@pytest.mark.parametrize("arch", SMALL)
@pytest.mark.parametrize("side", [16, 28, 32])
def test_small_images_of_any_size_are_classified(arch: str, side: int) -> None:
    model = build_model(arch, "gn[2]" if ARCHITECTURES[arch].normalised else "none", 7, SMALL[arch])
    logits = model(torch.rand(2, 3, side, side))
    assert logits.shape == (2, 7)
    assert bool(logits.isfinite().all())


@pytest.mark.parametrize("arch", [name for name in SMALL if ARCHITECTURES[name].normalised])
def test_every_norm_is_of_the_space(arch: str) -> None:
    """But for the last one of wrn32, which is a BN in the RNA paper's code; the RobustNorm paper replaces it too."""
    kinds = {type(norm) for norm in norm_layers(build_model(arch, "in", width=SMALL[arch])).values()}
    assert (BatchGroupNorm in kinds) == (arch == "wrn32")


def test_lenet_sees_grey_images() -> None:
    model, images = build_model("lenet5", "none", mean=(0.5,) * 3, std=(0.25,) * 3), torch.rand(4, 3, 28, 28)
    grey = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(model(images), model(grey))
    with pytest.raises(InvalidValue, match=r"images: '15x15 pixels'.* at least 16x16"):
        model(torch.rand(1, 3, 15, 15))


def test_help_names_every_architecture() -> None:
    for field, names in (("arch", ARCHITECTURES), ("width", ["wrn16", "wrn32"]), ("operators", ["rs-resnet18"])):
        said = TrainingSettings.model_fields[field]
        text = f"{said.description} {said.json_schema_extra}"
        assert all(name in text for name in names)


def test_a_space_where_there_are_norms() -> None:
    for arch in ARCHITECTURES:
        settings = from_options(TrainingSettings, {"arch": arch})
        assert settings.space == ("none" if "lenet" in arch else "bn+in")
        assert Defined(arch=arch).space == settings.space
        assert f"-{settings.space}-" in run_name(settings)
    for refuse in (lambda: from_options(TrainingSettings, {"arch": "lenet5", "space": "bn"}),
                   lambda: build_model("lenet5", "bn")):
        with pytest.raises((InvalidSettings, InvalidValue), match=r"'bn' is not valid; expected 'none'.*lenet5"):
            refuse()
