"""How a trained network is used at inference: whose statistics normalise, and how many paths are averaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import field_validator

from rnabench.errors import did_you_mean, one_of
from rnabench.settings.base import Part, setting

StatisticsFrom = Literal["own", "running", "batch", "running-mean"]
"""Where statistics come from that were those of batches in training: wherever each normaliser itself takes them from,
all from the running ones, all from the batch at hand, or the mean from the running one and all others from the batch.
"""
CHOICES: tuple[StatisticsFrom, ...] = get_args(StatisticsFrom)[1:]  # what several joined by + are made of


class Deployment(Part):
    """How a trained network is used at inference; by default as it was trained to be.

    Batch statistics at inference, and the running mean with the range of the batch, are those of the RobustNorm paper
    (2023); averages over paths are SORS* and RS* of the SORS paper, with two.
    """

    statistics: str = setting(
        "own", "Where batch normalisers take their statistics at inference: own (each as its kind does), running, "
        "batch (batch mates then matter), running-mean (the others of the batch), or several joined by +, such as "
        "running+batch: a choice between them in every layer.", "Network")
    average: int = setting(1, "Fresh paths whose logits are averaged in every forward pass.", "Network", strict=True,
                           ge=1, le=100)

    @field_validator("statistics")
    @classmethod
    def _statistics(cls, value: str) -> str:
        names = value.lower().replace(" ", "").split("+")
        for name in names:
            if name not in CHOICES and names != ["own"]:
                raise ValueError(f"expected own, or {one_of(CHOICES)}, or several of them joined by +"
                                 f"{did_you_mean(name, ('own', *CHOICES))}")
        if len(set(names)) < len(names):
            raise ValueError("expected each kind of statistics once")
        return "+".join(names)

    @property
    def sources(self) -> tuple[StatisticsFrom, ...]:
        """What each normaliser with statistics of batches takes, or is a choice of."""
        by_name: dict[str, StatisticsFrom] = {name: name for name in get_args(StatisticsFrom)}
        return tuple(by_name[name] for name in self.statistics.split("+"))

    def changes(self) -> dict[str, Any]:
        """What is not the default, as records and digests have it: nothing, if the network is used as it is."""
        return self.model_dump(exclude_defaults=True)


AS_TRAINED = Deployment()


def with_use(name: str, changes: Mapping[str, Any] | None) -> str:
    """What a reader calls a network that is used with these `Deployment.changes`: `bn, statistics batch, average 2`."""
    return ", ".join([name, *(f"{key} {value}" for key, value in (changes or {}).items())])
