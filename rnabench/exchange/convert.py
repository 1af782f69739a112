"""From a released checkpoint to an ordinary run folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnabench.data.dataset import load_images
from rnabench.errors import CheckpointError, InvalidValue
from rnabench.exchange.names import scheme
from rnabench.exchange.released import load_released, read_released, released_size
from rnabench.model.factory import build_model
from rnabench.model.runs import RUN_FILE, WEIGHTS
from rnabench.model.saved import describe_model, save_weights
from rnabench.runtime.environment import git_revision, versions
from rnabench.runtime.files import atomic_folder, sha256, write_text
from rnabench.settings.architectures import architecture
from rnabench.settings.base import digest, from_options
from rnabench.settings.datasets import DataSettings
from rnabench.settings.training import TrainingSettings


def convert(
    file: Path, recipe: TrainingSettings, data: dict[str, Any], mean: Sequence[float], std: Sequence[float], out: Path
) -> dict[str, Any]:
    """Make the run folder `out` from the `state_dict` in `file`; returns the content of its run.json.

    Of `recipe` only the network (arch, space, layer_based) and the objective count; the rest of the training is
    unknown. Its space is in our grammar; `released_space` reads the file's own names. `data` are keys of DataSettings;
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
        write_text(folder / RUN_FILE, json.dumps(run, indent=1) + "\n")
    return run


def _classes(data: dict[str, Any]) -> tuple[str, ...]:
    """Raises InvalidValue, InvalidSettings or DataUnavailable."""
    if data["dataset"] in CIFAR_CLASSES:
        return CIFAR_CLASSES[data["dataset"]]
    if data["dataset"] == "imagenet":
        raise InvalidValue("dataset", "imagenet", "cifar10, cifar100, digits or folder: the released ImageNet network "
                           "is not one of those that can be converted")
    keys = from_options(DataSettings, data)
    return load_images(keys.dataset, "test", keys.data_dir, keys.title).classes


CIFAR_CLASSES = {
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "cifar100": tuple(
        """
        apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
        castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
        elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard
        lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear
        pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark
        shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone
        television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
        """.split()  # noqa: SIM905 (a hundred quoted names are no easier to read)
    ),
}
