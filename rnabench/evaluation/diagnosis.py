"""What can be seen of a model without attacking it: signs that gradients mislead (sanity check 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rnabench.attack.estimators import OnePath
from rnabench.data.batches import Batch
from rnabench.evaluation.defence import Defence
from rnabench.path.path import Path


@dataclass(frozen=True)
class Diagnosis:
    """`zero_gradients`: share of images whose loss has a gradient of exactly zero. `probabilities`: the outputs are a
    probability distribution, not logits. `was_training`: the model came in training mode (it was evaluated in
    evaluation mode). `changed`: buffers that the attacks changed."""

    images: int
    zero_gradients: float
    probabilities: bool
    was_training: bool
    changed: tuple[str, ...]


def diagnose(defence: Defence, path: Path, batch: Batch, was_training: bool, changed: list[str]) -> Diagnosis:
    """Look at the model on one path and one batch."""
    gradient = OnePath(defence, path).gradient(batch.images, batch.labels)
    with torch.no_grad():
        outputs = defence.on(path)(batch.images).float()
    sums = (outputs.sum(1) - 1).abs().max() < 1e-3
    inside = (outputs.min() >= -1e-6) & (outputs.max() <= 1 + 1e-6)
    return Diagnosis(len(batch.indices), float((gradient.flatten(1).abs().sum(1) == 0).float().mean()),
                     bool(sums & inside), was_training, tuple(changed))
