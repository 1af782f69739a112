"""`rnabench doctor`: whether this machine has what rnabench needs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from rnabench.cli import options as o
from rnabench.cli.answer import Answer

COLOURS = {"OK": "green", "WARN": "yellow", "FAIL": "bold red"}


def doctor(
    runs: Annotated[Path, o.option("Folder of runs, where it is to be.", o.RUN)] = Path("runs"),
    out: Annotated[Path, o.option("Folder of results, where it is to be.", o.RUN)] = Path("results"),
    data: Annotated[Path, o.option("Folder of data sets, where it is to be.", o.RUN)] = Path("data"),
    compile: Annotated[bool, o.option("Try out torch.compile, which takes some seconds to minutes.", o.RUN)] = True,
) -> Answer:
    """Say what this machine has of what rnabench needs, and what to do about the rest: versions, devices and their
    number formats, whether torch.compile works, whether locks hold in the folders, free disk, data.

    A line for each, OK, WARN (something cannot be had) or FAIL (nothing can); exit code 1 if any is FAIL.
    """
    from rnabench.cli.console import console, marked
    from rnabench.jobs.doctor import examine

    found = []
    for each in examine(runs, out, data, compile):
        found.append(each)
        advice = f" -> {each.advice}" if each.advice else ""
        console().print(marked(f"{each.state:4}", COLOURS[each.state], f"{each.what:14} {each.found}{advice}"),
                        soft_wrap=True)
    return {"failed": any(each.state == "FAIL" for each in found), "findings": list(map(asdict, found))}
