"""How a trained network is used at inference: which branches and statistics normalise, over how many paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import field_validator

from rnabench.errors import did_you_mean, one_of
from rnabench.settings.base import Part, setting

StatisticsFrom = Literal["own", "running", "batch", "running-mean"]
"""Where statistics come from that were those of batches in training: wherever each normaliser itself takes them from,
all from the running ones, all from the batch at hand, or the mean from the running one and all others from the batch.
"""
CHOICES: tuple[StatisticsFrom, ...] = get_args(StatisticsFrom)[1:]  # what several joined by + are made of
BRANCHES = ("clean", "adv")  # of a mixture BN: for clean images, which it uses by itself, and for adversarial ones


class Deployment(Part):
    """How a trained network is used at inference; by default as it was trained to be.

    Batch statistics at inference, and the running mean with the range of the batch, are those of the RobustNorm paper
    (2023); averages over paths are SORS* and RS* of the SORS paper, with two; branches are those of the thesis's
    chapters 6 and 7.
    """

    statistics: str = setting(
        "own", "Where batch normalisers take their statistics at inference: own (each as its kind does), running, "
        "batch (batch mates then matter), running-mean (the others of the batch), or several joined by +, such as "
        "running+batch: a choice between them in every layer.", "Network")
    average: int = setting(1, "Fresh paths whose logits are averaged in every forward pass.", "Network", strict=True,
                           ge=1, le=100)
    branch: str = setting(
        "own", "Branch of mixture BNs (space mbn) that normalises at inference: clean (their own), adv, or both joined "
        "by +, clean+adv: a choice between them in every layer.", "Network")

    @field_validator("statistics")
    @classmethod
    def _statistics(cls, value: str) -> str:
        return _joined(value, CHOICES, "each kind of statistics")

    @field_validator("branch")
    @classmethod
    def _branch(cls, value: str) -> str:
        return _joined(value, BRANCHES, "each branch")

    @property
    def sources(self) -> tuple[StatisticsFrom, ...]:
        """What each normaliser with statistics of batches takes, or is a choice of."""
        by_name: dict[str, StatisticsFrom] = {name: name for name in get_args(StatisticsFrom)}
        return tuple(by_name[name] for name in self.statistics.split("+"))

    @property
    def branches(self) -> tuple[str, ...]:
        """The branch that each mixture uses, or several that it becomes a choice of; none: its own."""
        return () if self.branch == "own" else tuple(self.branch.split("+"))

    def changes(self) -> dict[str, Any]:
        """What is not the default, as records and digests have it: nothing, if the network is used as it is."""
        return self.model_dump(exclude_defaults=True)


def _joined(value: str, known: Sequence[str], each: str) -> str:
    """`own`, or several of the `known` names joined by `+`, as they are spelled here. Raises ValueError."""
    names = value.lower().replace(" ", "").split("+")
    for name in names:
        if name not in known and names != ["own"]:
            raise ValueError(f"expected own, or {one_of(known)}, or several of them joined by +"
                             f"{did_you_mean(name, ('own', *known))}")
    if len(set(names)) < len(names):
        raise ValueError(f"expected {each} once")
    return "+".join(names)


AS_TRAINED = Deployment()


def with_use(name: str, changes: Mapping[str, Any] | None) -> str:
    """What a reader calls a network that is used with these `Deployment.changes`: `bn, statistics batch, average 2`."""
    return ", ".join([name, *(f"{key} {value}" for key, value in (changes or {}).items())])
