"""The function that finds a data set by name."""

from __future__ import annotations

from pathlib import Path

from rnabench.data.images import ImageSet, Split
from rnabench.errors import InvalidValue
from rnabench.settings.datasets import dataset_info


def load_images(
    name: str, split: Split, data_dir: Path | None = None, dataset_name: str | None = None, download: bool = False
) -> ImageSet:
    """The named split, decoded. `dataset_name` is what results call it (default: `name`).

    Raises InvalidValue for an unknown name, DataUnavailable for files that are missing, empty or malformed.
    """
    info = dataset_info(name)
    if info.needs_folder and data_dir is None:
        raise InvalidValue("data-dir", data_dir, f"the folder that holds {name!r}")
    title = dataset_name or name
    if name == "digits":
        from rnabench.data.digits import digits

        return digits(title, split)
    assert data_dir is not None
    if name in ("cifar10", "cifar100"):
        from rnabench.data.cifar import cifar

        return cifar(name, title, split, data_dir, download)
    from rnabench.data.folder import folder

    return folder(title, split, data_dir)
