"""The embedded data set: scikit-learn's scanned digits. Small, real, and there without a download."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from rnabench.data.images import ImageSet
from rnabench.seeding import stream
from rnabench.settings.datasets import DATASETS, Dataset, DataSettings, Split


@DATASETS.register("digits")
class Digits(Dataset):
    """1,797 scanned digits, 8x8 grey levels 0..16 made 32x32 RGB bilinearly, in a fixed random split."""

    size, flip, needs_folder = 32, False, False
    classes = tuple("0123456789")
    train_images, test_images = 1400, 397

    @classmethod
    def load(cls, split: Split, keys: DataSettings) -> ImageSet:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        grey = torch.from_numpy(bunch.images).float()[:, None] / 16
        large = F.interpolate(grey, size=(cls.size, cls.size), mode="bilinear", align_corners=False)
        images = (large * 255).round().to(torch.uint8).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().numpy()
        order = torch.randperm(len(images), generator=stream(0, "digits split")).numpy()
        chosen = np.sort(order[:cls.test_images] if split == "test" else order[cls.test_images:])
        return ImageSet(cls.classes, images[chosen], bunch.target[chosen].astype(np.int64), chosen)


@DATASETS.register("digits16")
class SmallDigits(Digits):
    """The same at 16x16, where a network takes a third of the time: there is no more to see in them at 32x32."""

    size = 16
