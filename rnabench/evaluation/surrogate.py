"""The network that a transfer attack makes its images on."""

from __future__ import annotations

from dataclasses import dataclass

from rnabench.evaluation.defence import Defence
from rnabench.evaluation.protocol import Protocol

SURROGATE_PROTOCOL = Protocol("eot:10", samples=10)  # if the surrogate draws; a deterministic one is attacked as it is


@dataclass(frozen=True)
class Surrogate:
    """`name` says whose weights these are."""

    name: str
    defence: Defence
