"""The embedded data set: scikit-learn's scanned digits. Small, real, and there without a download."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from rnabench.data.images import ImageSet, Split
from rnabench.seeding import stream

TEST_IMAGES = 397  # leaves 1,400 for training


def digits(title: str, split: Split) -> ImageSet:
    """1,400 training or 397 test images (a fixed random split), 8x8 grey levels 0..16 made 32x32 RGB bilinearly."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    grey = torch.from_numpy(bunch.images).float()[:, None] / 16
    large = F.interpolate(grey, size=(32, 32), mode="bilinear", align_corners=False)
    images = (large * 255).round().to(torch.uint8).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().numpy()
    order = torch.randperm(len(images), generator=stream(0, "digits split")).numpy()
    chosen = np.sort(order[:TEST_IMAGES] if split == "test" else order[TEST_IMAGES:])
    classes = tuple(str(digit) for digit in range(10))
    return ImageSet(title, split, classes, images[chosen], bunch.target[chosen].astype(np.int64), chosen, flip=False)
