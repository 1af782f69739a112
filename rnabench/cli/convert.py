"""`rnabench convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from rnabench.cli import options as o

MEAN, STD = "0.4914,0.4822,0.4465", "0.2471,0.2435,0.2616"


def convert(
    file: Annotated[Path, typer.Argument(help="Released RNA checkpoint: a PyTorch state_dict.")],
    out: Annotated[Path, o.option("Run folder to write, new or empty.", o.RUN)],
    arch: Annotated[str, o.option("resnet18 or wrn32; the width is the file's.", o.MODEL)] = "resnet18",
    space: Annotated[str, o.option("Normalisers in the order of the file's options, joined by +: bn, in (with scale "
                                   "and shift), in-plain (without), and by the file's own names gn_4, gbn_4 (numbers "
                                   "of groups), gnr_4, gbnr_4 (channels per group).", o.MODEL)] = "bn+in",
    layer_based: o.LayerBased = False,
    mean: Annotated[str, o.option("Input normalisation, which is not in the file: mean per channel of [0, 1] images. "
                                  "The default is CIFAR-10's, as in the released code, for CIFAR-100 too.", o.MODEL)
                    ] = MEAN,
    std: Annotated[str, o.option("The same: standard deviation.", o.MODEL)] = STD,
    dataset: Annotated[str, o.option("What it was trained on, which names the classes: cifar10, cifar100, digits or "
                                     "folder.", o.DATA)] = "cifar10",
    data_dir: Annotated[Optional[Path], o.option("Folder of the data set, where later commands look for the images; "
                                                 "converting itself reads that of `folder` only.", o.DATA)] = None,
    dataset_name: o.DatasetName = None,
    objective: Annotated[str, o.option("How it was trained, as far as you know: standard, white-box or black-box; "
                                       "results repeat it.", o.TRAINING)] = "black-box",
) -> None:
    """Make a run folder from a released RNA checkpoint, which every other command can use.

    Nothing but tensors is read from the file. Every tensor must be used and every parameter filled; only batch
    normalisations' counters may be absent, and the output says so.
    """
    from rnabench.exchange.names import released_space
    from rnabench.settings.base import from_options
    from rnabench.settings.datasets import DATASETS
    from rnabench.settings.training import TrainingSettings

    DATASETS.get(dataset)
    ours, read = released_space(space)
    recipe = from_options(TrainingSettings, {"arch": arch, "space": ours, "layer_based": layer_based,
                                        "objective": objective})
    data = {"dataset": dataset, "data_dir": data_dir and str(data_dir), "dataset_name": dataset_name, "download": False}
    means, stds = _three("--mean", mean, least=0.0), _three("--std", std, least=1e-4)

    from rnabench.cli.console import console
    from rnabench.exchange.convert import convert as run_convert

    run, show = run_convert(file, recipe, data, means, stds, out), console()
    model = run["model"]
    show.print(f"{out}: {model['arch']}, width {model['width']}, space {model['space']}, "
               f"{len(model['classes'])} classes, {model['parameters']:,} parameters, {int(model['paths']):,} "
               f"path{'s' * (model['paths'] != '1')}", markup=False)
    if read:
        show.print(f"read as: {read}", markup=False)
    for absent in run["source"]["absent"]:
        show.print(f"not in the file: {absent}", markup=False)
    show.print(f"taken from the options: classes of {dataset}, mean {mean}, std {std}, objective {objective}",
               markup=False)
    show.print("training unknown; the released code keeps the epoch that is best on the test set", markup=False)
    needed = " --data-dir DATA" if DATASETS[dataset].needs_folder and data_dir is None else ""
    show.print(f"next: rnabench attack {out}{needed}", markup=False)


def _three(option: str, text: str, least: float) -> tuple[float, ...]:
    from rnabench.errors import InvalidValue

    try:
        values = tuple(map(float, text.split(",")))
    except ValueError:
        values = ()
    if len(values) != 3 or not all(least <= value <= 1 for value in values):
        raise InvalidValue(option, text, f"three numbers from {least:g} to 1 joined by commas, such as {MEAN}")
    return values
