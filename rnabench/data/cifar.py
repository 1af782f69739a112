"""CIFAR-10 and CIFAR-100 through torchvision, which checks the files against their published hashes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torchvision

from rnabench.data.images import ImageSet, Split
from rnabench.errors import DataUnavailable


def cifar(name: str, title: str, split: Split, data_dir: Path, download: bool) -> ImageSet:
    """The official split, in its official order."""
    kind = torchvision.datasets.CIFAR10 if name == "cifar10" else torchvision.datasets.CIFAR100
    try:
        files = kind(root=str(data_dir), train=split == "train", download=download)
    except (RuntimeError, OSError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataUnavailable(
            f"data-dir: {str(data_dir)!r} holds no complete {name} ({first_line}); expected torchvision's files; "
            "add --download to fetch them"
        ) from error
    labels = np.asarray(files.targets, dtype=np.int64)
    return ImageSet(title, split, tuple(files.classes), files.data, labels, np.arange(len(labels)))
