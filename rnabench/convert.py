"""From a released checkpoint to an ordinary run folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnabench.data.cifar_classes import CIFAR_CLASSES
from rnabench.data.dataset import load_images
from rnabench.environment import git_revision, versions
from rnabench.errors import CheckpointError, InvalidValue
from rnabench.files import atomic_folder, sha256, write_text
from rnabench.model.architectures import architecture
from rnabench.model.exchange import scheme
from rnabench.model.factory import build_model
from rnabench.model.released import load_released, read_released, released_size
from rnabench.model.saved import RUN, WEIGHTS, describe_model, save_weights
from rnabench.recipe import DataKeys, TrainRecipe, digest, from_options


def convert(
    file: Path, recipe: TrainRecipe, data: dict[str, Any], mean: Sequence[float], std: Sequence[float], out: Path
) -> dict[str, Any]:
    """Make the run folder `out` from the `state_dict` in `file`; returns the content of its run.json.

    Of `recipe` only the network (arch, space, layer_based) and the objective count; the rest of the training is
    unknown. Its space is in our grammar; `released_space` reads the file's own names. `data` are keys of DataKeys;
    CIFAR's files need not be there. `mean`, `std` are those of the input normalisation, which is not in the file.
    Raises CheckpointError for a file that is not exactly that network,
    InvalidValue for classes that are not the data set's; then nothing is written.
    """
    arch, space = recipe.arch, recipe.space
    scheme(arch)
    classes = _classes(data)
    tensors = read_released(file)
    width, count = released_size(tensors, arch)
    if count is not None and count != len(classes):
        raise InvalidValue("--dataset", data["dataset"], f"a data set with {count} classes, as many as the file tells "
                           f"apart", [name for name, known in CIFAR_CLASSES.items() if len(known) == count])
    if width is not None and width > 1024:
        raise CheckpointError(f"convert: {str(file)!r} holds a network of width {width}; expected at most 1024")
    width = width or architecture(arch).width
    model = build_model(arch, space, len(classes), width, mean=tuple(mean), std=tuple(std),
                        layer_based=recipe.layer_based, granularity=recipe.granularity)
    absent = load_released(model, tensors, arch, space, file)
    source = {"file": file.name, "sha256": sha256(file), "format": "released RNA checkpoint (PyTorch state_dict)"}
    described = describe_model(model, arch, space, width, classes, mean, std)
    known = {**data, "arch": arch, "space": space, "width": width, "layer_based": recipe.layer_based,
             "objective": recipe.objective}
    run = {
        "format": 1,
        "status": "converted",
        "digest": digest({"source": source["sha256"], "model": described, "recipe": {
            name: value for name, value in known.items() if name not in ("data_dir", "download")}}),
        "recipe": known,
        "model": described,
        "data": {"name": data["dataset_name"] or data["dataset"], "fingerprint": None},
        "source": source | {"training": "unknown; the objective is what the user of `rnabench convert` said",
                            "absent": absent},
        "selected": {"by": "unknown; the released training code keeps the epoch that is best on the test set"},
        "conversion": {"versions": versions(), "git": git_revision()},
    }
    with atomic_folder(out) as folder:
        save_weights(model.state_dict(), folder)
        run["weights_sha256"] = sha256(folder / WEIGHTS)
        write_text(folder / RUN, json.dumps(run, indent=1) + "\n")
    return run


def _classes(data: dict[str, Any]) -> tuple[str, ...]:
    """Raises InvalidValue, InvalidRecipe or DataUnavailable."""
    if data["dataset"] in CIFAR_CLASSES:
        return CIFAR_CLASSES[data["dataset"]]
    if data["dataset"] == "imagenet":
        raise InvalidValue("dataset", "imagenet", "cifar10, cifar100, digits or folder: the released ImageNet network "
                           "is not one of those that can be converted")
    keys = from_options(DataKeys, data)
    return load_images(keys.dataset, "test", keys.data_dir, keys.title).classes
