"""A network without its classifier: found in every architecture by what it does, not by its name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rnabench.errors import InvalidValue
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.factory import build_model
from rnabench.model.features import without_classifier
from rnabench.settings.architectures import ARCHITECTURES
from tests.helpers import lively_model

LARGE = ("resnet50", "lenet5", "rs-lenet5", "rs-resnet18")  # slow, or with images or layers of their own kind
WIDTHS = {"resnet18": 2, "wrn32": 1, "wrn16": 1}


@pytest.mark.parametrize("arch", [name for name in ARCHITECTURES if name not in LARGE])
def test_features_and_classifier_make_the_network(arch: str) -> None:
    model = build_model(arch, "bn", num_classes=7, width=WIDTHS.get(arch)).eval()
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    backbone, width = without_classifier(arch, model, images)
    linear = [module for module in model.modules() if isinstance(module, nn.Linear) and module.in_features == width
              and module.out_features == 7]
    with torch.no_grad():
        features = backbone(images)
        assert features.shape == (2, width)
        torch.testing.assert_close(linear[-1](features), model(images))
    assert sum(parameter.numel() for parameter in backbone.parameters()) == sum(
        parameter.numel() for parameter in model.parameters()) - 7 * (width + 1)


class Ends(nn.Module):
    """A network whose linear layer is used so often, or not last."""

    def __init__(self, times: int, last: bool) -> None:
        super().__init__()
        self.times, self.last, self.linear = times, last, nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean((2, 3))
        for _ in range(self.times):
            x = self.linear(x)
        return x if self.last else x.log_softmax(1)


@pytest.mark.parametrize(("times", "last"), [(0, True), (2, True), (1, False)])
def test_what_does_not_end_with_a_linear_layer_used_once_is_refused(times: int, last: bool) -> None:
    images = torch.rand(2, 3, 4, 4)
    assert without_classifier("x", RandomizedClassifier(Ends(1, True)), images)[1] == 3
    with pytest.raises(InvalidValue, match="RUN: 'x' is not valid; expected a network whose last layer is linear"):
        without_classifier("x", RandomizedClassifier(Ends(times, last)), images)


def test_images_that_the_network_cannot_take_are_told_and_nothing_is_changed() -> None:
    model = RandomizedClassifier(nn.Sequential(nn.Conv2d(3, 4, 5), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(4, 2)))
    with pytest.raises(InvalidValue, match="--dataset: '4x4 pixels' is not valid; expected images of a size that x"):
        without_classifier("x", model, torch.rand(1, 3, 4, 4))
    assert without_classifier("x", model, torch.rand(1, 3, 8, 8))[1] == 4
    assert not any(module._forward_hooks for module in model.modules())
    lively = lively_model("bn")
    backbone, _ = without_classifier("x", lively, torch.rand(1, 3, 8, 8))
    next(backbone.parameters()).data.zero_()
    assert next(lively.parameters()).abs().sum() > 0
