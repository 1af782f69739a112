"""Evaluation protocols: which paths the attacker differentiates through, and which path predicts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rnabench.errors import InvalidValue


@dataclass(frozen=True)
class Protocol:
    """`samples` gradients over fresh paths are averaged at every step; 0 means one path frozen for the whole attack.

    `same_path`: the prediction uses the attacked path itself, not fresh draws.
    """

    name: str
    samples: int = 0
    same_path: bool = False


def parse_protocol(name: str) -> Protocol:
    """`paper`, `same-path`, `resample`, or `eot:K` with K gradient samples per step. Raises InvalidValue."""
    fixed = {
        "paper": Protocol("paper"),
        "same-path": Protocol("same-path", same_path=True),
        "resample": Protocol("resample", samples=1),
        "eot": Protocol("eot:20", samples=20),
    }
    if name in fixed:
        return fixed[name]
    match = re.fullmatch(r"eot:(\d{1,4})", name)
    if match is None or int(match[1]) < 1:
        raise InvalidValue("protocol", name, "paper, same-path, resample, or eot:K with K from 1 to 9999",
                           [*fixed, "eot:10", "eot:20"])
    return Protocol(name, samples=int(match[1]))
