"""Gradient similarity (Figure 3): cosines between the input gradients of two networks, or of two paths of one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnabench.attack.estimators import OnePath, OnPath
from rnabench.data.batches import Batch
from rnabench.path.path import Path
from rnabench.scoring.interval import Groups
from rnabench.scoring.outcome import batch_groups, path_groups
from rnabench.seeding import ExampleStreams
from rnabench.studies.measure.path_difference import path_pairs
from rnabench.studies.measure.smoothness import unit
from rnabench.studies.measure.subject import Subject
from rnabench.studies.measure.work import Arrays, Work

GROUPS = 16


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """Cosine similarity [N] of two tensors [N, ...], in float64; NaN where one of them is zero."""
    (one, length), (other, width) = unit(first.double()), unit(second.double())
    found = (one * other).flatten(1).sum(1).clamp(-1, 1)
    return torch.where((length == 0) | (width == 0), torch.nan, found)


def between_networks(subjects: Sequence[Subject], seed: int, work: Work) -> NDArray[np.float64]:
    """Cosines [N, S, S] of the gradients of the cross-entropy at the clean images; a subject that draws is looked at on
    a path for each of 16 groups of images, drawn for itself (for each batch, if predictions depend on batch mates)."""
    def on_batch(batch: Batch, first: int) -> Arrays:
        def groups(subject: Subject) -> Groups:
            if subject.batch_dependent:
                return batch_groups(first, 1, work.batch_size)
            return path_groups(first, len(batch.indices), GROUPS)

        paths = [subject.defence.space.sample_each(
                     ExampleStreams(seed, "gradient path", place, indices=groups(subject).tolist()))
                 if subject.is_random else subject.fixed() for place, subject in enumerate(subjects)]
        gradients = [input_gradient(subject.defence, path, batch.images, batch.labels)
                     for subject, path in zip(subjects, paths, strict=True)]
        rows = [torch.stack([cosine(one, other) for other in gradients], 1) for one in gradients]
        return {"cosine": torch.stack(rows, 1).cpu().numpy()}
    return work(f"gradients of {len(subjects)} networks", on_batch)["cosine"]


def by_difference(subject: Subject, pairs: int, seed: int, work: Work) -> NDArray[np.float64]:
    """Cosines [N, pairs, differences] between the gradients of two paths of a randomised network, on the pairs that
    `path_pairs` draws. Raises InvalidValue for a network that does not draw."""
    drawn = path_pairs(subject, pairs, seed)

    def on_batch(batch: Batch, start: int) -> Arrays:
        def slope(path: Path) -> Tensor:
            return input_gradient(subject.defence, path, batch.images, batch.labels)
        found = []
        for first, others in drawn:
            gradient = slope(first)
            found.append(torch.stack([cosine(gradient, slope(other)) for other in others], 1))
        return {"cosine": torch.stack(found, 1).cpu().numpy()}
    return work(f"gradients of {subject.label} on {pairs} pairs of paths", on_batch)["cosine"]


def input_gradient(network: OnPath, path: Path, images: Tensor, labels: Tensor) -> Tensor:
    """The gradient of the cross-entropy with respect to images, [N, C, H, W], on a path."""
    return OnePath(network, path).gradient(images, labels)


def random_orthogonality(dimension: int) -> float:
    """The mean of 1 - |cosine| of two independent directions that are uniform in that many dimensions: what gradients
    have that know nothing of each other. 1 - Gamma(d / 2) / (sqrt(pi) Gamma((d + 1) / 2)), about 1 - sqrt(2 / (pi d)).
    """
    return 1 - math.exp(math.lgamma(dimension / 2) - math.lgamma((dimension + 1) / 2)) / math.sqrt(math.pi)
