"""The last step of a minimal-norm attack: back towards the image, as far as the example stays misclassified."""

from __future__ import annotations

import torch
from torch import Tensor

from rnabench.attack.estimators import Estimator


def shorten(estimator: Estimator, found: Tensor, images: Tensor, labels: Tensor, halvings: int = 7) -> Tensor:
    """`found` moved towards `images` by bisection; examples that are not misclassified, or not moved, stay as they are.

    For a model without randomness only: where draws decide, the boundary is not a point on the way.
    """
    if estimator.is_random:
        return found
    rows = (found != images).flatten(1).any(1).nonzero().squeeze(1)
    if len(rows):
        rows = rows[estimator.wrong(found[rows], labels[rows], rows) > 0.5]
    if not len(rows):
        return found
    near, far = torch.zeros(len(rows), 1, 1, 1, device=images.device), torch.ones(len(rows), 1, 1, 1,
                                                                                  device=images.device)
    start, change = images[rows], found[rows] - images[rows]
    for _ in range(halvings):
        middle = (near + far) / 2
        wrong = (estimator.wrong(start + middle * change, labels[rows], rows) > 0.5).view(-1, 1, 1, 1)
        near, far = torch.where(wrong, near, middle), torch.where(wrong, middle, far)
    found = found.clone()
    found[rows] = torch.where(far < 1, start + far * change, found[rows])
    return found
