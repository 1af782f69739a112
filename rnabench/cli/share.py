"""`rnabench push` and `pull`: runs for others, and from others."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from rnabench.cli import options as o
from rnabench.cli.answer import Answer

FROM_OR_TO = "OWNER/NAME on the Hugging Face Hub, or a folder: ./NAME."


def push(
    run: Annotated[Path, typer.Argument(help="Run folder, as written by `rnabench train` or `rnabench convert`.")],
    repo_id: Annotated[str, typer.Argument(help=FROM_OR_TO)],
    private: Annotated[bool, o.option("Make a repository that is not there yet a private one.", o.RUN, "--private")
                       ] = False,
    bf16: Annotated[bool, o.option("Round the weights to bfloat16: half the size, and another network, to be attacked "
                                   "anew.", o.RUN, "--bf16")] = False,
) -> Answer:
    """Share a finished run: its weights, how it was trained, and the card of its newest record.

    Nothing else leaves: no state of the optimiser, no place on this machine. Who may write to the hub is for its own
    tools (`hf auth login`, HF_TOKEN).
    """
    from rnabench.cli.console import console
    from rnabench.exchange.repository import repository
    from rnabench.jobs.share import push as share

    place = repository(repo_id, private)
    revision = share(run, place, bf16)
    console().print(f"pushed {run} to {place.name}" + (f", revision {revision}" if revision else ""), soft_wrap=True)
    console().print(f"others: rnabench pull {place.address}" + (f"@{revision}" if revision else ""), soft_wrap=True)
    return {"run": run, "repository": place.address, "revision": revision or None}


def pull(
    repo_id: Annotated[str, typer.Argument(help=f"{FROM_OR_TO} A revision follows an @: OWNER/NAME@REVISION.")],
    runs: Annotated[Path, o.option("Folder of runs that it is put into, as <runs>/NAME.", o.RUN)] = Path("runs"),
) -> Answer:
    """Get a run that somebody has pushed, once every file has the hash that it had there.

    Nothing is unpickled: weights are safetensors, and only the files that belong to a run are taken.
    """
    from rnabench.cli.console import console
    from rnabench.exchange.repository import repository
    from rnabench.jobs.share import pull as get
    from rnabench.model.runs import read_run
    from rnabench.settings.datasets import DATASETS

    place = repository(repo_id)
    folder, is_new = get(place, runs)
    run = read_run(folder)
    console().print(f"{folder}: {'pulled' if is_new else 'is there already'}, weights of SHA-256 "
                    f"{run['weights_sha256']}", soft_wrap=True)
    dataset = run["recipe"].get("dataset")
    needed = " --data-dir DATA" if dataset in DATASETS and DATASETS[dataset].needs_folder else ""
    console().print(f"next: rnabench attack {quote(str(folder))}{needed}", soft_wrap=True)
    return {"run": folder, "is_new": is_new, "weights_sha256": run["weights_sha256"]}
