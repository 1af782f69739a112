"""Suites as data: which attacks under which protocols. Knows no tensors, so that names are checked fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rnabench.errors import InvalidValue, one_of

Axis = Literal["steps", "eps", "samples"]


@dataclass(frozen=True)
class Suite:
    """`attacks` are names, or mappings as `parse_attack` takes them. A sweep's `axis` is what its figure shows."""

    summary: str
    attacks: tuple[str | Mapping[str, Any], ...]
    protocols: tuple[str, ...]
    axis: Axis | None = None

    def same(self, other: Suite) -> bool:
        """Whether both run the same, whatever their summaries say."""
        return (self.attacks, self.protocols, self.axis) == (other.attacks, other.protocols, other.axis)


SUITES: dict[str, Suite] = {
    "quick": Suite("a first look", ("fgsm", "pgd10"), ("paper", "eot:10")),
    "paper": Suite("the attacks of the paper's Tables 1-5, as it ran them",
                   ("fgsm", "pgd20", "cw", "mifgsm", "deepfool", "autoattack"), ("paper",)),
    "adaptive": Suite("an attacker who averages over paths; the headline rests on it",
                      ("pgd20", "pgd100", "pgd20-margin", "pgd100-margin", "mifgsm", "autoattack", "square500"),
                      ("eot:20",)),
    "referee": Suite("the strongest attacks on randomised classifiers that are known, at about equal passes",
                     ("pgd200", "aggmo200", "storm100", "apgd200-ce", "reselect", "arc"), ("eot:20",)),
    "averages": Suite("whether it matters what is averaged over draws",
                      ("pgd100", "pgd100-margin", "apgd-ce"), ("eot:20", "eot:20:probabilities", "eot:20:logits")),
    "black-box": Suite("an attacker who sees outputs only, by the draws (votes) that each try is asked about",
                       ("square500",), ("resample", "eot:5", "eot:20")),
    "autoattack": Suite("AutoAttack: `standard` on a frozen path, `rand` over paths", ("autoattack",),
                        ("paper", "eot:20")),
    "pgd-steps": Suite("accuracy against the number of steps (Figure 5 a)",
                       tuple(f"pgd{steps}" for steps in range(10, 101, 10)), ("paper", "eot:20"), "steps"),
    "pgd-eps": Suite("accuracy against eps (Figure 5 b)",
                     tuple(f"pgd20@{eps}/255" for eps in (0, 2, 4, 8, 12, 16, 20, 24, 32, 48, 64)),
                     ("paper", "eot:20"), "eps"),
    "eot-samples": Suite("accuracy against the attacker's path samples per step", ("pgd20",),
                         tuple(f"eot:{samples}" for samples in (1, 5, 10, 20, 50)), "samples"),
}


def suites(name: str, own: Mapping[str, Suite] | None = None) -> list[tuple[str, Suite]]:
    """The suites that `name` joins by +, from the built-in ones and those of a recipe. Raises InvalidValue."""
    known = {**SUITES, **(own or {})}
    chosen = []
    for part in name.split("+"):
        if part not in known:
            raise InvalidValue("suite", part, f"{one_of(known)}, or some of them joined by +", known)
        chosen.append((part, known[part]))
    return chosen
