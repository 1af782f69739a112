"""`rnabench card`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from rnabench.cli import options as o
from rnabench.cli.answer import Answer


def card(
    records: Annotated[list[Path], typer.Argument(help="Records (JSON), or folders with records in them or below.",
                                                  metavar="RECORD...")],
    name: Annotated[str, o.option("Title of the paper that proposes the defence.  [default: its name in the record]",
                                  o.RUN)] = "",
    authors: Annotated[str, o.option("Its authors, separated by commas.", o.RUN)] = "",
    venue: Annotated[str, o.option("Where it was published, such as NeurIPS 2022.", o.RUN)] = "",
    link: Annotated[str, o.option("Where it can be read.", o.RUN)] = "",
    additional_data: Annotated[Optional[bool], o.option(
        "It was trained on more than the data set's own images.  [default: no, for networks that were trained here; "
        "else not said]", o.RUN, "--additional-data/--no-additional-data")] = None,
    out: Annotated[Optional[Path], o.option("Folder of the cards.  [default: cards, beside the records]", o.RUN)
                   ] = None,
) -> Answer:
    """Write a card for every defence among some records: what was attacked, how, with which result, how to replay it.

    NAME.md is for people; NAME.json has the fields of RobustBench's model_info (the adaptive worst case is its
    `external`, and of a randomised defence `autoattack_acc` stays null); NAME.yaml is a recipe that makes the numbers
    again, where records keep all settings. Authors, venue and link are what is given here, or empty.
    """
    from rnabench.cli.console import console
    from rnabench.report.card import cards, write_card
    from rnabench.report.model_info import Authorship

    made = cards(records, out, Authorship(name, authors, venue, link, additional_data))
    written = []
    for each in made:
        files = write_card(each)
        console().print(f"in {files[0].parent}: {', '.join(file.name for file in files)}", soft_wrap=True)
        written.append({"name": each.stem.name, "folder": each.stem.parent, "files": [file.name for file in files]})
    return {"cards": written}
