"""From a released checkpoint to an ordinary run folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnabench.data.sources import load_images
from rnabench.errors import CheckpointError, InvalidValue, one_of
from rnabench.exchange.names import scheme
from rnabench.exchange.released import load_released, read_released, released_size
from rnabench.model.factory import build_model
from rnabench.model.runs import RUN_FILE, WEIGHTS
from rnabench.model.saved import describe_model, save_weights
from rnabench.runtime.environment import git_revision, versions
from rnabench.runtime.files import atomic_folder, sha256, write_text
from rnabench.settings.architectures import ARCHITECTURES
from rnabench.settings.base import digest, from_options
from rnabench.settings.datasets import DATASETS, DataSettings, published_statistics
from rnabench.settings.training import TrainingSettings


def convert(
    file: Path, recipe: TrainingSettings, data: dict[str, Any], mean: Sequence[float] | None,
    std: Sequence[float] | None, out: Path,
) -> dict[str, Any]:
    """Make the run folder `out` from the `state_dict` in `file`; returns the content of its run.json.

    Of `recipe` only the network (arch, space, layer_based) and the objective count; the rest of the training is
    unknown. Its space is in our grammar; `released_space` reads the file's own names. `data` are keys of DataSettings;
    the files of a data set whose classes are published need not be there (of one that publishes how many there are,
    their numbers are then their names). `mean`, `std` are those of the input normalisation, which is not in the file;
    None: those of the data set that such files are known for.
    Raises CheckpointError for a file that is not exactly that network,
    InvalidValue for classes that are not the data set's; then nothing is written.
    """
    arch, space = recipe.arch, recipe.space
    known_for = scheme(arch)
    published = published_statistics(known_for.statistics)
    mean, std = mean or published[0], std or published[1]
    classes = _classes(data, ARCHITECTURES[arch].image_size)
    tensors = read_released(file)
    width, count = released_size(tensors, arch)
    if count is not None and count != len(classes):
        raise InvalidValue("--dataset", data["dataset"], f"a data set with {count} classes, as many as the file tells "
                           f"apart", [name for name, other in DATASETS.items() if other.class_count() == count])
    if width is not None and width > 1024:
        raise CheckpointError(f"convert: {str(file)!r} holds a network of width {width}; expected at most 1024")
    width = width or ARCHITECTURES[arch].width
    model = build_model(arch, space, len(classes), width, mean=tuple(mean), std=tuple(std),
                        layer_based=recipe.layer_based, granularity=recipe.granularity)
    absent = load_released(model, tensors, arch, space, file)
    source = {"file": file.name, "sha256": sha256(file), "format": known_for.file}
    described = describe_model(model, recipe.model_copy(update={"width": width}), classes, mean, std)
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
        "selected": {"by": known_for.selected},
        "conversion": {"versions": versions(), "git": git_revision()},
    }
    with atomic_folder(out) as folder:
        save_weights(model.state_dict(), folder)
        run["weights_sha256"] = sha256(folder / WEIGHTS)
        write_text(folder / RUN_FILE, json.dumps(run, indent=1) + "\n")
    return run


def _classes(data: dict[str, Any], image_size: int) -> tuple[str, ...]:
    """Raises InvalidValue, InvalidSettings or DataUnavailable."""
    dataset = DATASETS.get(data["dataset"])
    if dataset.size not in (None, image_size):
        fitting = [name for name, other in DATASETS.items() if other.size in (None, image_size)]
        raise InvalidValue("dataset", data["dataset"], f"{one_of(fitting)}: the network is one for {image_size}-pixel "
                           "images", fitting)
    if dataset.needs_folder and isinstance(dataset.classes, tuple):
        return dataset.classes  # its files need not be there
    if dataset.needs_folder and data["data_dir"] is None and isinstance(dataset.classes, int):
        return tuple(map(str, range(dataset.classes)))
    return load_images(from_options(DataSettings, data), "test").classes
