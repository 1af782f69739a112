"""Draw the tables and figures of committed results anew from their records; nothing is attacked or trained.

    python docs/redraw.py results/quickstart results/table1-smoke

For when what is drawn of a record changes. A folder is told by its recipe and profile, `recipes/<name>.yaml` and
`<name>-<profile>`. It is left as it is if it has not all models of the recipe's table, or if older algorithms made one:
what a recipe says of its profile today may not be what was done then.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from rnabench.cli.output import finish
from rnabench.errors import RnabenchError
from rnabench.report.record_file import read_record
from rnabench.report.staleness import own_reasons
from rnabench.settings.recipe import Recipe
from rnabench.settings.recipe_loading import load_recipe


def recipes_of(folder: Path) -> Iterator[Recipe]:
    """The recipe, at the profile that a folder of results is named by."""
    for file in Path("recipes").glob("*.yaml"):
        if folder.name == file.stem or folder.name.startswith(f"{file.stem}-"):
            try:
                recipe = load_recipe(file, folder.name.removeprefix(file.stem).removeprefix("-") or None)
            except RnabenchError:  # of another recipe, whose name only begins like that
                continue
            if recipe.folder == folder.name:
                yield recipe


def main(folders: list[str]) -> None:
    for folder in map(Path, folders):
        recipe = next(recipes_of(folder), None)
        if recipe is None or not recipe.table:
            print(f"{folder}: no table of a recipe")
        elif missing := [name for name in recipe.table if not (folder / f"{name}.json").is_file()]:
            print(f"{folder}: left as it is, without {', '.join(missing)}")
        elif any(own_reasons(read_record(folder / f"{name}.json")) for name in recipe.table):
            print(f"{folder}: left as it is, of older algorithms")
        else:
            finish([read_record(folder / f"{name}.json") for name in recipe.table], folder, recipe.heading, recipe)


if __name__ == "__main__":
    main(sys.argv[1:])
