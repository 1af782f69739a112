"""`rnabench recipes`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from rnabench.cli.answer import Answer


def recipes(
    name: Annotated[Optional[str], typer.Argument(help="Print this one.  [default: list all]")] = None,
) -> Answer:
    """List the recipes that come with rnabench, which `rnabench reproduce NAME` runs, or print one."""
    from rnabench.errors import InvalidValue
    from rnabench.settings import shipped

    if name is not None:
        if name not in shipped.names():
            raise InvalidValue("NAME", name, "the name of a recipe that comes with rnabench", shipped.names())
        file = shipped.folder() / f"{name}.yaml"
        typer.echo(file.read_text(), nl=False)
        return {"recipes": [_said(file)]}
    files: list[Path] = [shipped.folder() / f"{each}.yaml" for each in shipped.names()]
    from rnabench.cli.console import show_table

    found = list(map(_said, files))
    rows = [(each["name"], each["title"], ", ".join(each["profiles"])) for each in found]
    show_table("Recipes: rnabench reproduce NAME [--profile PROFILE]", ("name", "title", "profiles"), rows, 3)
    return {"recipes": found}


def _said(file: Path) -> Answer:
    from rnabench.settings.recipe_source import content, profiles

    return {"name": file.stem, "title": str(content(file).get("title", "")), "profiles": list(profiles(file)),
            "file": file}
