"""What a data set declares, and the settings that say which images are meant."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import StrictBool, ValidationInfo, field_validator

from rnabench.errors import InvalidValue, one_of
from rnabench.settings.base import Part, judged, setting
from rnabench.settings.file_names import checked_path
from rnabench.settings.registry import Registry

Split = Literal["train", "test"]
Channels = tuple[float, ...]
"""A number in [0, 1] for each channel."""


class Dataset(ABC):
    """A data set: one class, registered under its name, in a file of `rnabench.data` or of another package.

    What was published of it stands here, so that much can be said before its files are there; None: found in them.
    """

    size: ClassVar[int | None] = None  # side of the images in pixels
    flip: ClassVar[bool] = True  # whether mirrored images keep their class
    needs_folder: ClassVar[bool] = True  # whether --data-dir must be given
    classes: ClassVar[tuple[str, ...] | int | None] = None  # their names in the labels' order, or how many they are
    statistics: ClassVar[tuple[Channels, Channels] | None] = None  # mean and standard deviation of the training images
    train_images: ClassVar[int | None] = None
    test_images: ClassVar[int | None] = None

    @classmethod
    @abstractmethod
    def load(cls, split: Split, keys: DataSettings) -> Any:
        """All images of the split, in a fixed order: an `ImageSet`, or `ImageFiles` if they do not fit into memory
        (both of rnabench.data). Imports what is heavy inside. Raises DataUnavailable."""

    @classmethod
    def class_count(cls) -> int | None:
        """How many classes it is published with."""
        return len(cls.classes) if isinstance(cls.classes, tuple) else cls.classes


DATASETS: Registry[type[Dataset]] = Registry("dataset", "rnabench.data", "rnabench.datasets")


def published_statistics(name: str) -> tuple[Channels, Channels]:
    """Mean and standard deviation by channel, as published for the data set of that name.

    Raises InvalidValue if there is no such data set, or nothing is published for it.
    """
    published = {each: dataset.statistics for each, dataset in DATASETS.items() if dataset.statistics}
    if name not in published:
        raise InvalidValue("input-statistics", name, one_of(published), published)
    return published[name]


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
        return judged(DATASETS.get, value)

    @field_validator("data_dir")
    @classmethod
    def _data_dir(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        dataset = info.data.get("dataset")
        if value is not None:
            judged(lambda path: checked_path("data-dir", path), value)
        if dataset is None:  # not valid, which is told already
            return value
        if DATASETS[dataset].needs_folder and value is None:
            raise ValueError(f"expected the folder that holds {dataset!r}")
        if not DATASETS[dataset].needs_folder and value is not None:
            raise ValueError(f"expected no folder for dataset {dataset!r}; did you mean --dataset folder?")
        return value

    @property
    def title(self) -> str:
        """What results call the data set."""
        return self.dataset_name or self.dataset

    @property
    def folder(self) -> Path:
        """Where the files lie. Raises InvalidValue if that was not said."""
        if self.data_dir is None:
            raise InvalidValue("data-dir", None, f"the folder that holds {self.dataset!r}")
        return self.data_dir
