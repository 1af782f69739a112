"""How a command says which options it has, and the options that are no settings, so that a name means the same
everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

Texts = Optional[tuple[str, ...]]  # joined by commas
A_FILE = "a file"  # metadata of an option `out`: without it, a folder is written
DATA, MODEL, ATTACK, TRAINING, RUN = PANELS = ("Data", "Network", "Attack", "Training", "Run")  # as they are listed


def option(help: str, panel: str, *names: str) -> typer.models.OptionInfo:
    info: typer.models.OptionInfo = typer.Option(*names, help=help, rich_help_panel=panel)
    return info


@dataclass(frozen=True)
class Change:
    """What a command says of a field otherwise than its settings do; None: the same."""

    default: Any = None
    help: str | None = None
    none: str | None = None


@dataclass(frozen=True)
class Fields:
    """Which fields of a settings class are options: those that are named or changed, or all. `given`: the name of the
    class, where the command takes no settings but the values that were given."""

    names: tuple[str, ...]
    changes: Mapping[str, Change]
    given: str = ""


ALL = Fields((), {})


def only(*names: str, **changes: Change) -> Fields:
    """Metadata of a parameter that is of a settings class."""
    return Fields(names, changes)


def given(kind: str, *names: str, **changes: Change) -> Fields:
    """Metadata of a parameter that is a mapping: what is given of settings that something else completes. A changed
    field has the default that the change says, or none."""
    return Fields(names, changes, kind)


def data(help: str, none: str) -> Fields:
    """Metadata of a parameter: the data set, as far as it is given; what `none` stands for without it."""
    return given("DataSettings", "data_dir", "dataset_name", "download", dataset=Change(help=help, none=none))


Data = Annotated[dict[str, Any], data("Data set to attack on.", "the run's own")]

Model = Annotated[Optional[str], option("Anybody's network instead of a run: package.module:factory, or the name "
                                        "under which an installed package registers it.", MODEL)]
ModelArgs = Annotated[Optional[list[str]], option("An argument of that factory, key=value, with a value as in YAML; "
                                                  "may be repeated.", MODEL, "--model-args")]
ModelWeights = Annotated[Optional[Path], option("File of weights for what the factory returns: .safetensors, or a "
                                                "state_dict written by torch.save.", MODEL, "--model-weights")]

Device = Annotated[str, option("auto, cpu, cuda or cuda:N.", RUN)]
Runs = Annotated[Path, option("Folder in which runs are looked for that are not named.", RUN)]
Resume = Annotated[bool, option("Go on with what is there, or start anew.", RUN)]
Refresh = Annotated[bool, option("Make anew what older versions of the algorithms made.", RUN, "--refresh")]
MaxMinutes = Annotated[Optional[float], option("Stop cleanly after so many minutes (exit code 3); the same command "
                                               "goes on.  [default: no limit]", RUN)]
Log = Annotated[Texts, option(
    "Show scalars while it works, comma-separated: tensorboard, wandb, trackio. They change no result.  "
    "[default: nowhere]", RUN)]
AsJson = Annotated[bool, option("Print the result as JSON.", RUN, "--json")]
