"""Suites as data: which attacks under which protocols. Knows no tensors, so that names are checked fast."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rnabench.errors import InvalidValue, one_of


@dataclass(frozen=True)
class AttackSpec:
    """A gradient attack before it knows eps and its step size (one step without a random start goes all of eps)."""

    name: str
    steps: int
    random_start: bool


@dataclass(frozen=True)
class Suite:
    name: str
    attacks: tuple[str, ...]
    protocols: tuple[str, ...]


SUITES = {
    "quick": Suite("quick", ("fgsm", "pgd10"), ("paper", "eot:10")),
}


def suite(name: str) -> Suite:
    """The suite of that name. Raises InvalidValue."""
    if name not in SUITES:
        raise InvalidValue("suite", name, one_of(SUITES), SUITES)
    return SUITES[name]


def parse_attack(name: str) -> AttackSpec:
    """`fgsm`, or `pgdN` with N steps from a random start. Raises InvalidValue."""
    if name == "fgsm":
        return AttackSpec("fgsm", 1, random_start=False)
    match = re.fullmatch(r"pgd(\d{1,5})", name)
    if match is None or int(match[1]) < 1:
        raise InvalidValue("attack", name, "fgsm, or pgdN with a number of steps N, as in pgd20", ("fgsm", "pgd20"))
    return AttackSpec(name, int(match[1]), random_start=True)
