"""The recipes that come with rnabench, by name."""

from __future__ import annotations

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
    text = str(recipe)
    if text not in names():
        if not recipe.is_file():
            raise InvalidValue("RECIPE", text, "a YAML file, or a name that `rnabench recipes` lists", names())
        return recipe
    own = [file for file in (recipe, Path(f"{text}.yaml")) if file.is_file()]
    if own:
        raise InvalidValue("RECIPE", text, f"./{own[0]} for the file here, or another name for it: a recipe of that "
                                           "name comes with rnabench as well", ())
    return folder() / f"{text}.yaml"
