"""Semantic segmentation: a class for every pixel, scored by the mean intersection over union."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rnabench.dense.folder import IGNORE, MASKS, Example
from rnabench.dense.network import DenseNetwork, Score, Seen, Targets
from rnabench.seeding import derive

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what torchvision's segmentation networks are trained on
RESAMPLES = 1000


class Segmentation(DenseNetwork):
    """Targets are the pixels of objects."""

    needs, measure, steps = MASKS, "mIoU", 200

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__(network, classes)
        parameter = next(network.parameters())
        self._mean, self._std = (parameter.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))

    def logits(self, image: Tensor) -> Tensor:
        """[classes, H, W]."""
        out: Tensor = self.network(((image - self._mean) / self._std)[None])["out"][0]
        return out.float()

    def targets(self, example: Example) -> Targets:
        assert example.mask is not None
        objects = (example.mask != 0) & (example.mask != IGNORE)
        return Targets(example.mask[objects], lambda image: self.logits(image)[:, objects].T)

    def seen(self, image: Tensor, example: Example) -> Seen:
        """How many pixels of each class were taken for each, flattened."""
        assert example.mask is not None
        with torch.no_grad():
            predicted = self.logits(image).argmax(0)
        counted = example.mask != IGNORE
        pairs = example.mask[counted] * self.classes + predicted[counted]
        return {"pixels": torch.bincount(pairs, minlength=self.classes**2).tolist()}

    @classmethod
    def score(cls, seen: Sequence[Seen], seed: int) -> Score:
        """Over all pixels of all images together, as VOC has it; the interval is of images drawn again (bootstrap)."""
        pixels = np.array([each["pixels"] for each in seen], dtype=np.int64)
        side = round(pixels.shape[1] ** 0.5)
        random = np.random.default_rng(derive(seed, "bootstrap"))
        weights = random.multinomial(len(pixels), np.full(len(pixels), 1 / len(pixels)), RESAMPLES)
        low, high = np.quantile(mean_iou((weights @ pixels).reshape(-1, side, side)), (0.025, 0.975))
        return Score(float(mean_iou(pixels.sum(0).reshape(side, side))), float(low), float(high))


def mean_iou(pixels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean over classes of intersection over union, in [0, 1]; `pixels` [..., right class, predicted class] counts
    them. A class that is neither there nor predicted does not count."""
    both = np.diagonal(pixels, axis1=-2, axis2=-1)
    either = pixels.sum(-2) + pixels.sum(-1) - both
    mean: NDArray[np.float64] = (both / either.clip(1)).sum(-1) / (either > 0).sum(-1).clip(1)
    return mean
