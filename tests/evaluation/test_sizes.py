"""Networks that take images of one size are told from others before an attack shows them larger ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rnabench.data.batches import ResidentSource
from rnabench.errors import InvalidValue
from rnabench.evaluation.sizes import check_sizes
from rnabench.model.classifier import RandomizedClassifier
from rnabench.settings.attacks import parse_attack
from tests.helpers import lively_model, random_images

SOURCE = ResidentSource(random_images(2), torch.device("cpu"))
GROW, SHRINK = parse_attack("difgsm2"), parse_attack({"kind": "difgsm", "name": "tried", "mode": "shrink"})


def test_only_larger_images_are_too_large() -> None:
    one_size = RandomizedClassifier(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10))).eval()
    check_sizes(lively_model("bn+in"), [GROW, SHRINK], SOURCE)
    check_sizes(one_size, [SHRINK, parse_attack("bim2")], SOURCE)
    with pytest.raises(InvalidValue, match=r"mode shrink.* 8 pixels, and not the 9"):
        check_sizes(one_size, [SHRINK, GROW], SOURCE)
