"""Evaluation protocols: which paths the attacker differentiates through, and which path predicts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from rnabench.errors import InvalidValue

Average = Literal["losses", "probabilities", "logits"]
"""What is averaged over draws: the losses, and so their gradients, or predictions, of which there is then one."""

NAMES = "paper, same-path, resample, eot:K with K from 1 to 9999, eot:K:probabilities or eot:K:logits"


@dataclass(frozen=True)
class Protocol:
    """At every step `samples` fresh paths are averaged over; 0 means one path frozen for the whole attack.

    `same_path`: the prediction uses the attacked path itself, not fresh draws. `average`: what is averaged.
    """

    name: str
    samples: int = 0
    same_path: bool = False
    average: Average = "losses"


def eot(samples: int, average: Average = "losses") -> Protocol:
    """The protocol that averages over so many paths."""
    return Protocol(f"eot:{samples}" + ("" if average == "losses" else f":{average}"), samples, average=average)


def strength(protocol: Protocol) -> tuple[int, bool]:
    """By which the protocol is found whose probes the sanity checks run: the most draws; of equals, the usual
    average."""
    return protocol.samples, protocol.average == "losses"


def parse_protocol(name: str) -> Protocol:
    """`paper`, `same-path`, `resample`, or `eot:K` with K draws per step, whose losses are averaged; `eot:K:logits` and
    `eot:K:probabilities` average these instead. Raises InvalidValue."""
    fixed = {
        "paper": Protocol("paper"),
        "same-path": Protocol("same-path", same_path=True),
        "resample": Protocol("resample", samples=1),
        "eot": eot(20),
    }
    if name in fixed:
        return fixed[name]
    match = re.fullmatch(r"eot:(\d{1,4})(?::(probabilities|logits))?", name)
    if match is None or int(match[1]) < 1:
        raise InvalidValue("protocol", name, NAMES,
                           [*fixed, "eot:10", "eot:20", "eot:20:probabilities", "eot:20:logits"])
    average: Average = "logits" if match[2] == "logits" else "probabilities" if match[2] else "losses"
    return Protocol(name, int(match[1]), average=average)
