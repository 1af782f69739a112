"""Several trainings of one model of a recipe: `seeds: [0, 1, 2]` stands for networks that differ in their seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, field_validator

from rnabench.recipe import Part, TrainRecipe

KEY = "seeds"
TRAINING_KEYS = (*TrainRecipe.model_fields, KEY)  # what `train` and a model of a recipe may say
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**31)]


class Seeds(Part):
    """The seeds of a model's trainings; none: its one training has the `seed` of its settings."""

    seeds: tuple[Seed, ...] | None = Field(None, min_length=1)

    @field_validator(KEY)
    @classmethod
    def _different(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("expected different seeds")
        return value


def settings_and_seeds(shared: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A model's training settings (its `own` over those that are `shared`), and what it says of its seeds.

    A model's own `seed` counts, and not shared `seeds`.
    """
    merged = {**shared, **own}
    seeds = {KEY: merged.pop(KEY)} if KEY in merged else {}
    if own.get(KEY) is None and "seed" in own:
        seeds = {}
    return merged, seeds


def by_seed(name: str, training: TrainRecipe, seeds: Sequence[int] | None) -> dict[str, TrainRecipe]:
    """A model's trainings by name: `RNA.s0`, `RNA.s1` for several seeds, the model's own name for one."""
    found = [training.model_copy(update={"seed": seed}) for seed in seeds] if seeds else [training]
    return {f"{name}.s{each.seed}" if len(found) > 1 else name: each for each in found}
