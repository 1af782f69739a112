"""What studies of transferred images share: several attacks, and ensembles of networks as what they are made on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import ValidationInfo, field_validator, model_validator

from rnabench.errors import InvalidValue, one_of
from rnabench.settings.attacks import AttackSpec, parse_attack
from rnabench.settings.base import judged, setting
from rnabench.settings.studies import Attacking

Weights = dict[str, float]
"""The weight of each member of an ensemble, by its label: at least 0, and 1 in all."""
Members = tuple[str, ...] | dict[str, float]
HOLD_OUT, ALL = "hold-out", "all"
ENSEMBLES = (
    "Also make images on ensembles, whose logits are fused: hold-out (for each network, all the others), all (one of "
    "all), or labels of networks joined by & (several ensembles by ;).")


class Transferring(Attacking):
    """A study of one or several attacks whose images are made on networks, or on ensembles of them.

    `attack` is the first of `attacks`, where there are several. An ensemble's logits are the weighted sum of its
    members' (eq. 3.8 of the thesis); weights are equal unless a recipe says them, `{name: {network: weight}}`.
    """

    later: ClassVar[tuple[str, ...]] = ("attacks", "ensembles")

    attacks: tuple[str | dict[str, Any], ...] | None = setting(
        None, "Several attacks instead of one, comma-separated.", "Attack", "--attack")
    ensembles: Annotated[str | dict[str, Members] | None, setting(..., ENSEMBLES, "Network", "none")] = None

    @model_validator(mode="before")
    @classmethod
    def _one_attack_or_several(cls, values: Any) -> Any:
        """One of several is one; of several the first is `attack`."""
        if not isinstance(values, Mapping) or not isinstance(several := values.get("attacks"), list | tuple):
            return values
        default = cls.model_fields["attack"].default  # which a command line says, too, if nobody says another
        if not several or values.get("attack", default) not in (default, several[0]):
            return values  # which is refused below
        return {**values, "attack": several[0], "attacks": None if len(several) == 1 else several}

    @field_validator("attacks")
    @classmethod
    def _attacks(cls, values: tuple[Any, ...] | None, info: ValidationInfo) -> tuple[Any, ...] | None:
        if values is None:
            return None
        names = [judged_name(value) for value in values]
        if not names or len(set(names)) < len(names):
            raise ValueError("expected attacks of different names")
        if info.data.get("attack", values[0]) != values[0]:
            raise ValueError("expected attack or attacks, not both")
        return values

    @field_validator("ensembles", mode="before")
    @classmethod
    def _ensembles(cls, value: Any) -> Any:
        if not isinstance(value, str | dict | None):
            raise ValueError("expected hold-out, all, networks joined by &, or names with their networks")
        for name, members in value.items() if isinstance(value, dict) else ():
            if not isinstance(members, dict):
                if not isinstance(members, list | tuple) or not all(isinstance(member, str) for member in members):
                    raise ValueError(f"expected a list of networks for {name!r}, or their weights")
                continue
            weights = list(members.values())
            if not all(isinstance(weight, int | float) and weight >= 0 for weight in weights) or not math.isclose(
                    sum(weights), 1, abs_tol=1e-6):
                raise ValueError(f"expected weights of at least 0 that sum to 1 in {name!r}, not {weights}")
        return value

    @property
    def specs(self) -> tuple[AttackSpec, ...]:
        return tuple(map(parse_attack, self.attacks)) if self.attacks else (self.spec,)

    def ensembles_of(self, labels: Sequence[str]) -> dict[str, Weights]:
        """Its ensembles of the networks of these labels, by name. Raises InvalidValue."""
        if self.ensembles is None:
            return {}
        found = dict(_named(self.ensembles, labels))
        for name, weights in found.items():
            if wrong := [label for label in weights if label not in labels]:
                names = labels if isinstance(self.ensembles, Mapping) else (HOLD_OUT, ALL, *labels)
                raise InvalidValue("ensembles", wrong[0], one_of(names), names)
            if len(weights) < 2:
                raise InvalidValue("ensembles", name, "two different networks or more in it")
            if name in labels:
                raise InvalidValue("ensembles", name, "a name that no network has")
        return found

    def attack_passes(self, classes: int) -> tuple[float, float]:
        several = [spec.parameters.passes(False, classes) for spec in self.specs]
        return sum(gradients for gradients, _ in several), sum(forwards for _, forwards in several)


def judged_name(described: str | dict[str, Any]) -> str:
    """The name of an attack. Raises ValueError for what is none."""
    judged(parse_attack, described)
    return parse_attack(described).name


def _named(ensembles: str | Mapping[str, Members], labels: Sequence[str]) -> Iterator[tuple[str, Weights]]:
    if isinstance(ensembles, Mapping):
        for name, members in ensembles.items():
            yield name, dict(members) if isinstance(members, Mapping) else _equal(members)
    elif ensembles == HOLD_OUT:
        for label in labels:
            yield f"all but {label}", _equal([other for other in labels if other != label])
    elif ensembles == ALL:
        yield ALL, _equal(labels)
    else:
        for text in ensembles.split(";"):
            named = [member.strip() for member in text.split("&")]
            yield " & ".join(named), _equal(named)


def _equal(members: Sequence[str]) -> Weights:
    return {member: 1 / len(set(members)) for member in members}
