"""The data sets by name. Knows no tensors, so that names are checked without importing torch."""

from __future__ import annotations

from dataclasses import dataclass

from rnabench.errors import InvalidValue, one_of


@dataclass(frozen=True)
class DatasetInfo:
    """`size` is the images' side in pixels (None: found in the files); `flip` says whether mirrored images keep
    their class; `needs_folder` whether `--data-dir` must be given."""

    description: str
    size: int | None
    flip: bool = True
    needs_folder: bool = True


DATASETS = {
    "digits": DatasetInfo("1,797 scanned 8x8 digits that come with scikit-learn, as 32x32 RGB", 32, False, False),
    "cifar10": DatasetInfo("CIFAR-10 (torchvision's files in --data-dir, or --download)", 32),
    "cifar100": DatasetInfo("CIFAR-100 (torchvision's files in --data-dir, or --download)", 32),
    "imagenet": DatasetInfo("train/<class>/* and test/<class>/* in --data-dir, read at 224 px", 224),
    "folder": DatasetInfo("any train/<class>/* and test/<class>/* in --data-dir; name it with --dataset-name", None),
}


def dataset_info(name: str) -> DatasetInfo:
    """The data set of that name. Raises InvalidValue."""
    if name not in DATASETS:
        raise InvalidValue("dataset", name, one_of(DATASETS), DATASETS)
    return DATASETS[name]
