"""The cells of a recipe: pieces that anybody's engine has done one by one. Each has an id that stays, of what it is.

`train/MODEL`, `attack/MODEL/ATTACK/PROTOCOL`, `sanity/MODEL/ATTACK/PROTOCOL` (what only sanity checks look at),
`study/FIGURE`, and `table`, which collects the attacks. MODEL names a training, with its seed where there are several.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rnabench.errors import InvalidValue
from rnabench.evaluation.cells import Cell, cells, probes
from rnabench.jobs.recipe_check import imported_target
from rnabench.model.deployment import deploy
from rnabench.model.factory import build_model
from rnabench.settings.documents import Unreadable, read_json
from rnabench.settings.recipe import Recipe

TRAIN, ATTACK, SANITY, STUDY, TABLE = "train", "attack", "sanity", "study", "table"
KINDS = tuple(f"{kind}/" for kind in (TRAIN, ATTACK, SANITY, STUDY))
EXPECTED = "the id of a cell, as `--plan --json` lists them"


def train_id(model: str) -> str:
    return f"{TRAIN}/{model}"


def study_id(figure: str) -> str:
    return f"{STUDY}/{figure}"


def attack_id(model: str, cell: Cell) -> str:
    return "/".join((SANITY if cell.probe else ATTACK, model, *cell.key))


def is_chosen(recipe: Recipe, model: str, cell: Cell) -> bool:
    """Whether a cell of a model of the table is among what is to be run."""
    if recipe.cells is not None:
        return attack_id(model, cell) in recipe.cells
    return recipe.attacks is None or cell.group in recipe.attacks


def choose(recipe: Recipe, only: str, device: str) -> Recipe:
    """The part of it that a comma-separated list names (see `Recipe.only`), or that a file lists, as `@FILE`: ids of
    cells, among which `table` and figures may be called by their names. What they need belongs to it. Raises
    InvalidValue."""
    words = _listed(Path(only[1:]), only) if only.startswith("@") else [word.strip() for word in only.split(",")]
    if not any(word.startswith(KINDS) for word in words):
        return recipe.only(",".join(words))
    asked = {word.split("/")[1] for word in words if word.startswith(KINDS)}  # networks are built for these alone
    attacks = {each: model for model in recipe.table if model in asked for each in table_ids(recipe, model, device)}
    trainings, studies = ({train_id(name): name for name in recipe.models},
                          {word: name for name in recipe.figures for word in (name, study_id(name))})
    for word in words:
        if word.startswith(("model=", "attack=")):
            raise InvalidValue("--only", word, "either ids of cells or `model=` and `attack=`, not both")
        if not (word in attacks or word in trainings or word in studies or (word == TABLE and recipe.table)):
            same_model = [each for each in attacks if each.split("/")[1] in word.split("/")]
            raise InvalidValue("--only", word, EXPECTED, same_model or ids(recipe, device))
    cells = None if TABLE in words else tuple(word for word in words if word in attacks)
    attacked = recipe.table if cells is None else {attacks[each] for each in cells}
    return recipe.part(tuple(name for name in recipe.table if name in attacked),
                       [name for word, name in studies.items() if word in words],
                       [name for word, name in trainings.items() if word in words], cells=cells)


def _listed(file: Path, only: str) -> list[str]:
    """What a JSON file lists: texts, or objects that have an `id`; a whole plan lists its cells."""
    try:
        content: Any = read_json(file)
    except Unreadable as error:
        raise InvalidValue("--only", only, f"a JSON file ({error})") from None
    listed = content.get("cells") if isinstance(content, dict) else content
    found = [each.get("id") if isinstance(each, dict) else each for each in listed] if isinstance(listed, list) else []
    words = [each for each in found if isinstance(each, str)]
    if not words or len(words) < len(found):
        raise InvalidValue("--only", only, "a JSON list of ids, or of objects that have one, with at least one")
    return words


def ids(recipe: Recipe, device: str) -> list[str]:
    """Of all cells."""
    attacks = [each for model in recipe.table for each in table_ids(recipe, model, device)]
    return [*map(train_id, recipe.models), *attacks, *map(study_id, recipe.figures), *([TABLE] if attacks else [])]


def table_ids(recipe: Recipe, model: str, device: str) -> Sequence[str]:
    """Of what a model of the table is attacked with."""
    keys = recipe.evaluate
    if model in recipe.imported:
        target = imported_target(recipe, model, keys, device)
        wanted = target.cells(keys) + target.probes(keys)
    else:
        settings = recipe.models[model]
        with torch.device("meta"):
            network = deploy(build_model(**settings.network), recipe.deployment_of(model), model)
        random = network.space.is_random
        wanted = cells(keys, random) + probes(keys, random)
    return [attack_id(model, cell) for cell in wanted]
