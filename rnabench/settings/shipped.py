"""The recipes that come with rnabench, by name."""

from __future__ import annotations

import os
from pathlib import Path

from rnabench.errors import InvalidValue

PACKAGE = Path(__file__).resolve().parents[1]


def folder() -> Path:
    """Where they lie: inside the installed package, or beside it in a checkout."""
    inside = PACKAGE / "recipes"
    return inside if inside.is_dir() else PACKAGE.parent / "recipes"


def names() -> list[str]:
    """Of all that can be run: a file without a name is the base of others."""
    return sorted(file.stem for file in folder().glob("*.yaml") if "\nname:" in file.read_text())


def find(recipe: Path) -> Path:
    """A recipe's file: what `recipe` says, or the shipped one of that name. Raises InvalidValue for neither, and for a
    name that both have."""
    text, known = str(recipe), names()
    if text not in known:
        if not os.path.isfile(recipe):  # which is false, too, for what cannot be a file's name
            raise InvalidValue("RECIPE", text, "a YAML file, or a name that `rnabench recipes` lists", known)
        return recipe
    own = [file for file in (recipe, Path(f"{text}.yaml")) if file.is_file()]
    if own:
        raise InvalidValue("RECIPE", text, f"./{own[0]} for the file here, or another name for it: a recipe of that "
                                           "name comes with rnabench as well", ())
    return folder() / f"{text}.yaml"
