"""What can be seen of a model without attacking it: its gradients and its input (sanity checks 4 and 8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rnabench.attack.losses import LOSSES
from rnabench.data.batches import Batch
from rnabench.defence.defence import Defence
from rnabench.errors import ModelError
from rnabench.path.path import Path
from rnabench.scoring.outcome import bits

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel of a data set, in [0, 1]."""


@dataclass(frozen=True)
class Diagnosis:
    """`zero_gradients`: by loss, the share of images whose gradient is exactly zero, among those that the model has
    right (among all if it has none right). `probabilities`: the outputs are a probability distribution, not logits.
    `was_training`: the model came in training mode (it was evaluated in evaluation mode). `changed`: buffers that the
    attacks changed. `normalisation`: for images as `given`, `normalised` and `unnormalised`, which the model has right,
    as a string of 0 and 1; without those that it refuses; empty if the data set's statistics are not known."""

    images: int
    zero_gradients: Mapping[str, float]
    probabilities: bool
    was_training: bool
    changed: tuple[str, ...]
    normalisation: Mapping[str, str]


def diagnose(defence: Defence, path: Path, batches: Iterable[Batch], was_training: bool, changed: list[str],
             statistics: Statistics | None = None) -> Diagnosis:
    """Look at the model on one path (of one row) and a few batches."""
    logits, labels, zero = [], [], list[dict[str, Tensor]]()
    right: dict[str, list[Tensor]] = {}
    refused = set[str]()
    for batch in batches:
        outputs, zero_here = _zero_gradients(defence, path, batch)
        logits.append(outputs)
        labels.append(batch.labels)
        zero.append(zero_here)
        if statistics is not None:
            for name, images in _otherwise_normalised(batch.images, statistics).items():
                try:
                    right.setdefault(name, []).append(_predicted(defence, path, images) == batch.labels)
                except ModelError:  # it may check that pixels are in [0, 1]
                    refused.add(name)
    outputs = torch.cat(logits)
    correct = outputs.argmax(1) == torch.cat(labels)
    counted = correct if bool(correct.any()) else torch.ones_like(correct)
    shares = {loss: float(torch.cat([part[loss] for part in zero])[counted].float().mean()) for loss in zero[0]}
    sums = (outputs.sum(1) - 1).abs().max() < 1e-3
    inside = (outputs.min() >= -1e-6) & (outputs.max() <= 1 + 1e-6)
    seen = {"given": correct} if statistics is not None else {}
    seen |= {name: torch.cat(parts) for name, parts in right.items() if name not in refused}
    return Diagnosis(len(outputs), shares, bool(sums & inside), was_training, tuple(changed),
                     {name: bits(values.cpu().numpy()) for name, values in seen.items()})


def _zero_gradients(defence: Defence, path: Path, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits [N, classes] and, by loss, which images bool [N] have a gradient of exactly zero; DLR needs 3 classes."""
    images = batch.images.detach().requires_grad_()
    logits = defence.on(path)(images).float()
    zero = {}
    for name, loss in LOSSES.items():
        if logits.shape[1] > 2 or name != "dlr":
            (gradient,) = torch.autograd.grad(loss(logits, batch.labels).sum(), images, retain_graph=True)
            zero[name] = gradient.flatten(1).abs().sum(1) == 0
    return logits.detach(), zero


def _predicted(defence: Defence, path: Path, images: Tensor) -> Tensor:
    with torch.no_grad():
        return defence.on(path)(images).argmax(1)


def _otherwise_normalised(images: Tensor, statistics: Statistics) -> dict[str, Tensor]:
    """The images as a network wants them that does not normalise, and as one that normalises twice does: neither need
    stay in [0, 1]."""
    mean, std = (torch.tensor(values).to(images).view(1, -1, 1, 1) for values in statistics)
    return {"normalised": (images - mean) / std, "unnormalised": images * std + mean}
