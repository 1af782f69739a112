"""Per-example outcomes of one attack under one protocol, and the numbers that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rnabench.evaluation.interval import Bits, accuracy_interval


@dataclass(frozen=True)
class Outcome:
    """What happened to every example.

    `correct` [N, D]: right on draw d. `majority` [N]: the most frequent prediction over the draws is right (ties go
    to the lower class number). `reported` [N]: right on a path of the attacker's own, its frozen one or, where it has
    none, one more draw: what an attack library would report. `batches` [N]: which batch, if its images shared a draw;
    None if every example had draws of its own. `distances` [N]: the Euclidean change of each image, for attacks that
    know no eps.
    """

    attack: str
    protocol: str
    correct: Bits
    majority: Bits
    reported: Bits
    batches: NDArray[np.int64] | None
    seconds: float = 0.0
    distances: NDArray[np.float64] | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.attack, self.protocol

    @property
    def accuracy(self) -> float:
        """The mean over images and draws."""
        return float(self.correct.mean())

    @property
    def interval(self) -> tuple[float, float]:
        return accuracy_interval(self.correct, self.batches)

    @property
    def worst(self) -> float:
        """The share of images that are right on every draw: what a persistent attacker leaves."""
        return float(self.correct.all(1).mean())

    @property
    def median_distance(self) -> float | None:
        """The median change of the images that had to be moved and are misclassified on the attacker's path; None if
        there are none."""
        if self.distances is None:
            return None
        moved = self.distances[~self.reported & (self.distances > 0)]
        return float(np.median(moved)) if len(moved) else None

    def timed(self, seconds: float) -> Outcome:
        """The same outcome, with how long it took."""
        return replace(self, seconds=seconds)

    def first(self, count: int) -> Outcome:
        """The outcome on the first `count` images only."""
        cut = slice(0, count)
        return replace(self, correct=self.correct[cut], majority=self.majority[cut], reported=self.reported[cut],
                       batches=None if self.batches is None else self.batches[cut],
                       distances=None if self.distances is None else self.distances[cut])


def joined(parts: Sequence[Outcome]) -> Outcome:
    """The outcome of several batches, in order."""
    first = parts[0]
    shared = first.batches is not None
    batches = np.concatenate([part.batches for part in parts if part.batches is not None]) if shared else None
    return Outcome(
        first.attack, first.protocol,
        np.concatenate([part.correct for part in parts]),
        np.concatenate([part.majority for part in parts]),
        np.concatenate([part.reported for part in parts]),
        batches, sum(part.seconds for part in parts),
        None if first.distances is None else np.concatenate(
            [part.distances for part in parts if part.distances is not None]),
    )


def bits(values: Bits) -> str:
    """A boolean vector as a string of 0 and 1."""
    return "".join("01"[bool(value)] for value in values)


def from_bits(text: str) -> Bits:
    """The inverse of `bits`."""
    values: Bits = np.frombuffer(text.encode(), dtype=np.uint8) == ord("1")
    return values
