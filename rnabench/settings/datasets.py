"""The data sets by name, and the settings that say which images are meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import StrictBool, ValidationInfo, field_validator

from rnabench.errors import InvalidValue, one_of
from rnabench.settings.base import Part, judged, setting


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


class DataSettings(Part):
    """Which images: the same keys for training and for evaluation."""

    dataset: str = setting("digits", "digits, cifar10, cifar100, imagenet or folder.", "Data")
    data_dir: Path | None = setting(None, "Folder of the data set (not needed for digits).", "Data",
                                    validate_default=True)
    dataset_name: str | None = setting(None, "What results call the data set.", "Data", "--dataset",
                                       pattern=r"^[\w.+-]{1,64}$")
    download: StrictBool = setting(False, "Fetch cifar10 or cifar100 into --data-dir.", "Data")

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
