"""What sanity checks look at, and what they say: rows and flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from rnabench.scoring.outcome import Outcome
from rnabench.settings.attacks import Parameters, recorded
from rnabench.settings.protocols import Protocol, parse_protocol

Status = Literal["PASS", "WARN", "FAIL", "n/a"]
SURE = 0.997  # three standard errors: many pairs are compared, and few may fail by chance
NAMES = {1: "order", 2: "eps", 3: "converged", 4: "gradients", 5: "black box", 6: "same path", 7: "autoattack",
         8: "normalisation"}


@dataclass(frozen=True)
class Row:
    """An outcome and its attack's parameters (empty for natural accuracy)."""

    outcome: Outcome
    parameters: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.parameters.get("kind", "natural"))

    @property
    def samples(self) -> int:
        """Path samples per step of an averaging protocol; 0 for a frozen path or a model without randomness."""
        return self.protocol.samples

    @property
    def protocol(self) -> Protocol:
        """How the attacker averages; of a model without randomness, not at all."""
        name = self.outcome.protocol
        return Protocol(name) if name == "any" else parse_protocol(name)

    @property
    def plain(self) -> bool:
        """PGD with cross-entropy and a single start."""
        return self.kind == "pgd" and self.parameters.get("loss") == "ce" and self.parameters.get("restarts") == 1

    @cached_property
    def attack(self) -> Parameters | None:
        """None for natural accuracy, for images made on another network, and for an attack that nobody here knows."""
        return recorded(self.parameters)

    @property
    def strength(self) -> float | None:
        """The place in the order of strength; None if the order says nothing of it."""
        return 0 if self.kind == "natural" else self.attack.strength if self.attack else None

    @property
    def losses(self) -> frozenset[str]:
        """The losses (names as in `attack.losses`) whose gradients the attack follows; none if it follows no gradient
        of this model."""
        return self.attack.losses if self.attack else frozenset()

    @property
    def white_box(self) -> bool:
        """Whether it is a bounded attack that follows this model's gradients."""
        return self.attack is not None and self.attack.bounded and bool(self.losses)

    @property
    def black_box(self) -> bool:
        """Whether it is a bounded attack that follows none: it asks for outputs only, or was made on another model."""
        return self.kind == "transfer" or (self.attack is not None and self.attack.bounded and not self.losses)

    def __str__(self) -> str:
        """`pgd20 / eot:10 62.5`: the accuracy in percent."""
        return f"{' / '.join(self.outcome.key)} {100 * self.outcome.accuracy:.1f}"


@dataclass(frozen=True)
class Flag:
    """`check` 1 to 8. `text` has the numbers that decided. `rows` (attack, protocol) are not to be relied on if it
    FAILs; none: all of them."""

    check: int
    status: Status
    text: str
    rows: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return NAMES[self.check]
