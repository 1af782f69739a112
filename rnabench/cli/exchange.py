"""`rnabench convert` and `export`: networks from other programs and for them."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from rnabench.cli import options as o
from rnabench.cli.answer import Answer
from rnabench.cli.options import Change, only

if TYPE_CHECKING:
    from rnabench.settings.training import TrainingSettings

EXAMPLE = "0.4914,0.4822,0.4465"


def convert(
    file: Annotated[Path, typer.Argument(help="Released RNA checkpoint, or torchvision's weights of a ResNet-50: a "
                                         "PyTorch state_dict (.pth, .pt) or .safetensors.")],
    out: Annotated[Path, o.option("Run folder to write, new or empty.", o.RUN)],
    settings: Annotated[TrainingSettings, only(
        "layer_based", "dataset_name",
        arch=Change(help="resnet18, wrn32 or torchvision's resnet50; the width is the file's."),
        objective=Change(help="How it was trained, as far as you know: standard, white-box or black-box; results "
                              "repeat it."))],
    space: Annotated[str, o.option("Normalisers in the order of the file's options, joined by +: bn, in (with scale "
                                   "and shift), in-plain (without), and by the file's own names gn_4, gbn_4 (numbers "
                                   "of groups), gnr_4, gbnr_4 (channels per group).", o.MODEL)] = "bn+in",
    mean: Annotated[Optional[str], o.option(
        "Input normalisation, which is not in the file: mean per channel of [0, 1] images.  [default: CIFAR-10's, as "
        "in the released code, for CIFAR-100 too; resnet50: ImageNet's]", o.MODEL)] = None,
    std: Annotated[Optional[str], o.option("The same: standard deviation.  [default: the same]", o.MODEL)] = None,
    dataset: Annotated[str, o.option("What it was trained on, which names the classes: cifar10, cifar100, digits, "
                                     "imagenet or folder.", o.DATA)] = "cifar10",
    data_dir: Annotated[Optional[Path], o.option("Folder of the data set, where later commands look for the images; "
                                                 "converting itself reads the names of classes there, of imagenet and "
                                                 "folder.", o.DATA)] = None,
) -> Answer:
    """Make a run folder from a released RNA checkpoint or torchvision's weights, which every other command can use.

    Nothing but tensors is read from the file. Every tensor must be used and every parameter filled; only batch
    normalisations' counters may be absent, and the output says so.
    """
    from rnabench.exchange.names import released_space
    from rnabench.settings.base import from_options
    from rnabench.settings.datasets import DATASETS
    from rnabench.settings.training import TrainingSettings

    DATASETS.get(dataset)
    ours, read = released_space(space)
    training = from_options(TrainingSettings, settings.model_dump(exclude_unset=True) | {"space": ours})
    data = {"dataset": dataset, "data_dir": data_dir and str(data_dir), "dataset_name": settings.dataset_name,
            "download": False}
    means = None if mean is None else _three("--mean", mean, least=0.0)
    stds = None if std is None else _three("--std", std, least=1e-4)

    from rnabench.cli.console import console
    from rnabench.exchange.convert import convert as run_convert

    run, show = run_convert(file, training, data, means, stds, out), console()
    model = run["model"]
    show.print(f"{out}: {model['arch']}, width {model['width']}, space {model['space']}, "
               f"{len(model['classes'])} classes, {model['parameters']:,} parameters, {int(model['paths']):,} "
               f"path{'s' * (model['paths'] != '1')}")
    if read:
        show.print(f"read as: {read}")
    for absent in run["source"]["absent"]:
        show.print(f"not in the file: {absent}")
    if data_dir is None and isinstance(DATASETS[dataset].classes, int):
        show.print(f"classes: called by their numbers, as no --data-dir names those of {dataset}")
    mean, std = (",".join(map(str, model[part])) for part in ("mean", "std"))
    show.print(f"not from the file: classes of {dataset}, mean {mean}, std {std}, objective {settings.objective}")
    show.print(f"training unknown; epoch chosen by: {run['selected']['by']}")
    needed = " --data-dir DATA" if DATASETS[dataset].needs_folder and data_dir is None else ""
    show.print(f"next: rnabench attack {quote(str(out))}{needed}")
    return {"run": out} | {name: run[name] for name in ("status", "selected", "model", "digest", "weights_sha256",
                                                        "source")}


def _three(option: str, text: str, least: float) -> tuple[float, ...]:
    from rnabench.errors import InvalidValue

    try:
        values = tuple(map(float, text.split(",")))
    except ValueError:
        values = ()
    if len(values) != 3 or not all(least <= value <= 1 for value in values):
        raise InvalidValue(option, text, f"three numbers from {least:g} to 1 joined by commas, such as {EXAMPLE}")
    return values


def export(
    run: Annotated[Path, typer.Argument(help="Run folder, as written by `rnabench train` or `rnabench convert`.")],
    out: Annotated[Path, o.option("File to write, new.", o.RUN), o.A_FILE],
    settings: Annotated[TrainingSettings, only("seed")],
    format: Annotated[Literal["state-dict", "torchscript"], o.option(
        "state-dict: every tensor of the network; torchscript: one fixed path, from [0, 1] images to logits.", o.RUN)
        ] = "state-dict",
    names: Annotated[Literal["own", "released"], o.option(
        "Names in a state-dict: our own, or those of the released RNA checkpoints (resnet18, wrn32), which `rnabench "
        "convert` reads.", o.MODEL)] = "own",
    path: Annotated[Optional[str], o.option("Path of a torchscript: one option for all layers (bn, or 0), or a number "
                                            "per layer (0110... or 0,1,1,0,...).  [default: drawn with --seed]",
                                            o.MODEL)] = None,
) -> Answer:
    """Write a trained network for other programs: a plain state_dict, or TorchScript of one path.

    A state-dict is loadable with weights_only=True. A torchscript holds the input normalisation and needs nothing but
    torch: torch.jit.load(FILE)(images).
    """
    from rnabench.errors import InvalidValue

    if format == "state-dict" and path is not None:
        raise InvalidValue("--path", path, "no path with --format state-dict, which holds all options")
    if format == "torchscript" and names == "released":
        raise InvalidValue("--names", names, "'own' with --format torchscript")

    from rnabench.cli.console import console

    show = console()
    if format == "torchscript":
        from rnabench.exchange.export import export_torchscript

        chosen = export_torchscript(run, path, settings.seed, out)
        show.print(f"{out}: TorchScript of {chosen}")
        return {"file": out, "format": format, "path": chosen, "tensors": None, "names": None}

    from rnabench.exchange.export import export_state

    count = export_state(run, names == "released", out)
    show.print(f"{out}: state_dict of {count} tensors")
    if names == "released":
        from rnabench.model.runs import read_run

        model = read_run(run)["model"]
        mean, std = (",".join(map(str, model[part])) for part in ("mean", "std"))
        show.print("not in the file: the input normalisation; to read it again: rnabench convert --arch "
                   f"{model['arch']} --space {model['space']} --mean {mean} --std {std}")
    return {"file": out, "format": format, "path": None, "tensors": count, "names": names}
