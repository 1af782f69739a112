"""`rnabench export`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from rnabench.cli import options as o


class Format(str, Enum):
    state_dict = "state-dict"
    torchscript = "torchscript"


class Names(str, Enum):
    own = "own"
    released = "released"


def export(
    run: Annotated[Path, typer.Argument(help="Run folder, as written by `rnabench train` or `rnabench convert`.")],
    out: Annotated[Path, o.option("File to write, new.", o.RUN)],
    format: Annotated[Format, o.option("state-dict: every tensor of the network; torchscript: one fixed path, from "
                                       "[0, 1] images to logits.", o.RUN)] = Format.state_dict,
    names: Annotated[Names, o.option("Names in a state-dict: our own, or those of the released RNA checkpoints "
                                     "(resnet18, wrn32), which `rnabench convert` reads.", o.MODEL)] = Names.own,
    path: Annotated[Optional[str], o.option("Path of a torchscript: one option for all layers (bn, or 0), or a number "
                                            "per layer (0110... or 0,1,1,0,...).  [default: drawn with --seed]",
                                            o.MODEL)] = None,
    seed: o.Seed = 0,
) -> None:
    """Write a trained network for other programs: a plain state_dict, or TorchScript of one path.

    A state-dict is loadable with weights_only=True. A torchscript holds the input normalisation and needs nothing but
    torch: torch.jit.load(FILE)(images).
    """
    from rnabench.errors import InvalidValue

    if format is Format.state_dict and path is not None:
        raise InvalidValue("--path", path, "no path with --format state-dict, which holds all options")
    if format is Format.torchscript and names is Names.released:
        raise InvalidValue("--names", names.value, "'own' with --format torchscript")

    from rnabench.cli.console import console

    show = console()
    if format is Format.torchscript:
        from rnabench.exchange.export import export_torchscript

        show.print(f"{out}: TorchScript of {export_torchscript(run, path, seed, out)}", markup=False)
        return

    from rnabench.exchange.export import export_state

    count = export_state(run, names is Names.released, out)
    show.print(f"{out}: state_dict of {count} tensors", markup=False)
    if names is Names.released:
        from rnabench.model.runs import read_run

        model = read_run(run)["model"]
        mean, std = (",".join(map(str, model[part])) for part in ("mean", "std"))
        show.print("not in the file: the input normalisation; to read it again: rnabench convert --arch "
                   f"{model['arch']} --space {model['space']} --mean {mean} --std {std}", markup=False)
