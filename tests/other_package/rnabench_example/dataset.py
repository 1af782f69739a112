"""A data set: one class that says what it is and loads it."""

from __future__ import annotations

import numpy as np

from rnabench.data.images import ImageSet
from rnabench.settings.datasets import DATASETS, Dataset, DataSettings, Split


@DATASETS.register("stripes")
class Stripes(Dataset):
    """Generated 32x32 RGB images of stripes along the rows or along the columns, under noise."""

    size, needs_folder = 32, False
    classes = ("rows", "columns")
    train_images, test_images = 64, 32

    @classmethod
    def load(cls, split: Split, keys: DataSettings) -> ImageSet:
        random = np.random.default_rng(["train", "test"].index(split))
        count = cls.train_images if split == "train" else cls.test_images
        labels = np.arange(count) % 2
        waves = 128 + 64 * np.sin(np.arange(32) + 6 * random.random((count, 1)))
        grey = np.where(labels[:, None, None] == 0, waves[:, :, None], waves[:, None, :])
        images = grey[..., None] + random.normal(0, 16, (count, 32, 32, 3))
        return ImageSet(cls.classes, images.clip(0, 255).astype(np.uint8), labels, np.arange(count))
