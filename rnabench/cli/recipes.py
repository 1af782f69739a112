"""`rnabench recipes`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from rnabench.cli import options as o


def recipes(
    name: Annotated[Optional[str], typer.Argument(help="Print this one.  [default: list all]")] = None,
    as_json: o.AsJson = False,
) -> None:
    """List the recipes that come with rnabench, which `rnabench reproduce NAME` runs, or print one."""
    from pathlib import Path

    from rnabench.errors import InvalidValue
    from rnabench.settings import shipped
    from rnabench.settings.recipe_source import content, profiles

    if name is not None:
        if name not in shipped.names():
            raise InvalidValue("NAME", name, "the name of a recipe that comes with rnabench", shipped.names())
        typer.echo((shipped.folder() / f"{name}.yaml").read_text(), nl=False)
        return
    files: list[Path] = [shipped.folder() / f"{each}.yaml" for each in shipped.names()]
    if as_json:
        from json import dumps

        typer.echo(dumps([{"name": file.stem, "title": content(file).get("title"), "profiles": profiles(file),
                           "file": str(file)} for file in files], indent=1))
        return
    from rnabench.cli.console import show_table

    rows = [(file.stem, str(content(file).get("title", "")), ", ".join(profiles(file))) for file in files]
    show_table("Recipes: rnabench reproduce NAME [--profile PROFILE]", ("name", "title", "profiles"), rows, 3)
