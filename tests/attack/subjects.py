"""What libraries are tried on: a lively network on a path of its own, and random images."""

from __future__ import annotations

import torch

from rnabench.model.classifier import RandomizedClassifier
from rnabench.path.path import Path
from tests.helpers import lively_model

CPU = torch.device("cpu")
IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1)).to(memory_format=torch.channels_last)


def model_and_path(space: str) -> tuple[RandomizedClassifier, Path]:
    model = lively_model(space)
    return model, model.space.sample(torch.Generator().manual_seed(2))
