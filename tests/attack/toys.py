"""What attacks are tried on: networks whose gradients are known in closed form, and noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from rnabench.attack.attack import Uniform
from rnabench.attack.estimators import Estimator
from rnabench.attack.losses import Loss, cross_entropy
from rnabench.path.path import Path
from rnabench.path.space import PathSpace
from rnabench.seeding import ExampleStreams


class TwoPaths:
    """Logits w_p · x for two classes: the gradient on each path, and so its mean, is known in closed form."""

    space = PathSpace(("only",), (("a", "b"),))
    weights = torch.tensor([[3.0, -1.0, 0.5], [-1.0, -1.0, 2.0]])

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        chosen = torch.tensor([row[0] for row in path.rows])

        def logits(images: Tensor) -> Tensor:
            score = (images.flatten(1) * self.weights[chosen]).sum(1)
            return torch.stack([score, -score], 1)

        return logits

    def gradient(self, images: Tensor, row: int) -> Tensor:
        """d/dx of cross-entropy with label 0: -2 w (1 - sigmoid(2 w·x))."""
        w = self.weights[row]
        return -2 * w * (1 - torch.sigmoid(2 * images.flatten(1) @ w))[:, None]


class DeafToDark:
    """Two classes; an image whose mean is below a half has logits that do not depend on it: a gradient of exactly 0."""

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        def logits(images: Tensor) -> Tensor:
            score = images.flatten(1).square().sum(1) * (images.detach().flatten(1).mean(1) > 0.5)
            return torch.stack([score, -score], 1)

        return logits


class GivenGradients(Estimator):
    """An estimator that answers with these gradients, whatever it is asked."""

    samples, is_random = 1, False

    def __init__(self, following: Callable[[Tensor], Tensor]) -> None:
        self.following = following

    def forward(self, images: Tensor, rows: Tensor | None = None) -> Iterator[Tensor]:
        raise AssertionError("asked for logits")

    def gradient(self, images: Tensor, labels: Tensor, loss: Loss = cross_entropy, rows: Tensor | None = None
                 ) -> Tensor:
        return self.following(images)


IMAGES = torch.rand(5, 3, 1, 1, generator=torch.Generator().manual_seed(0))
LABELS = torch.zeros(5, dtype=torch.int64)
MIDDLE = 0.3 + 0.4 * IMAGES  # so far from 0 and 1 that nothing below is clipped there


def noise(count: int, seed: int = 0) -> Uniform:
    streams = ExampleStreams(seed, "start", indices=range(count))
    return lambda *shape: streams.uniform(*shape).float()


def silence(*shape: int) -> Tensor:
    raise AssertionError("this attack needs no random numbers")
