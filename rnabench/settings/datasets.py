"""The data sets by name, and the settings that say which images are meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, StrictBool, ValidationInfo, field_validator

from rnabench.errors import InvalidValue, one_of
from rnabench.settings.base import Part, judged


@dataclass(frozen=True)
class DatasetInfo:
    """`size` is the images' side in pixels (None: found in the files); `flip` says whether mirrored images keep
    their class; `needs_folder` whether `--data-dir` must be given. What is published of it counts in plans until its
    files are there: how many images and `classes` (None: found in the files)."""

    description: str
    size: int | None
    flip: bool = True
    needs_folder: bool = True
    train_images: int | None = None
    test_images: int | None = None
    classes: int | None = None


DATASETS = {
    "digits": DatasetInfo("1,797 scanned 8x8 digits that come with scikit-learn, as 32x32 RGB", 32, False, False),
    "cifar10": DatasetInfo("CIFAR-10 (torchvision's files in --data-dir, or --download)", 32, True, True,
                           50_000, 10_000, 10),
    "cifar100": DatasetInfo("CIFAR-100 (torchvision's files in --data-dir, or --download)", 32, True, True,
                            50_000, 10_000, 100),
    "imagenet": DatasetInfo("train/<class>/* and test/<class>/* in --data-dir, read at 224 px", 224, True, True,
                            1_281_167, 50_000, 1000),
    "folder": DatasetInfo("any train/<class>/* and test/<class>/* in --data-dir; name it with --dataset-name", None),
}


def dataset_info(name: str) -> DatasetInfo:
    """The data set of that name. Raises InvalidValue."""
    if name not in DATASETS:
        raise InvalidValue("dataset", name, one_of(DATASETS), DATASETS)
    return DATASETS[name]


class DataSettings(Part):
    """Which images: the same keys for training and for evaluation."""

    dataset: str = "digits"
    data_dir: Path | None = Field(None, validate_default=True)
    dataset_name: str | None = Field(None, pattern=r"^[\w.+-]{1,64}$")
    download: StrictBool = False

    @field_validator("dataset")
    @classmethod
    def _dataset(cls, value: str) -> str:
        return judged(dataset_info, value)

    @field_validator("data_dir")
    @classmethod
    def _folder(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        dataset = info.data.get("dataset")
        if dataset is not None and dataset_info(dataset).needs_folder and value is None:
            raise ValueError(f"expected the folder that holds {dataset!r}")
        if dataset == "digits" and value is not None:
            raise ValueError("expected no folder for dataset 'digits'; did you mean --dataset folder?")
        return value

    @property
    def title(self) -> str:
        """What results call the data set."""
        return self.dataset_name or self.dataset
