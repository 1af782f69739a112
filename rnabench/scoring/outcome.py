"""Per-example outcomes of one attack under one protocol, and the numbers that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnabench.scoring.interval import Bits, Groups, accuracy_interval, too_few_groups


@dataclass(frozen=True)
class Outcome:
    """What happened to every example.

    `correct` [N, D]: right on draw d. `majority` [N]: the most frequent prediction over the draws is right (ties go
    to the lower class number). `reported` [N]: right on a path of the attacker's own, its frozen one or, where it has
    none, one more draw: what an attack library would report. `groups` [N]: which path group an image is in, whose
    images share every draw of a path; None if nothing is drawn, or every image has draws of its own. `distances` [N]:
    the Euclidean change of each image, for attacks that know no eps.
    """

    attack: str
    protocol: str
    correct: Bits
    majority: Bits
    reported: Bits
    groups: Groups | None
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
        return accuracy_interval(self.correct, self.groups)

    @property
    def few_paths(self) -> int | None:
        """How many path groups there were, if they were so few for so many images that the interval says little."""
        if self.groups is None or not too_few_groups(self.groups):
            return None
        count = len(np.unique(self.groups))
        return count if count < len(self.correct) else None

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
        return self.take(slice(0, count))

    def take(self, rows: slice | NDArray[np.int64]) -> Outcome:
        """The outcome on some of the images."""
        return replace(self, correct=self.correct[rows], majority=self.majority[rows], reported=self.reported[rows],
                       groups=None if self.groups is None else self.groups[rows],
                       distances=None if self.distances is None else self.distances[rows])

    def as_json(self) -> dict[str, Any]:
        """All of it, as journals keep it."""
        return {
            "attack": self.attack, "protocol": self.protocol, "correct": [bits(draw) for draw in self.correct.T],
            "majority": bits(self.majority), "reported": bits(self.reported),
            "distances": None if self.distances is None else self.distances.tolist(),
            "groups": None if self.groups is None else self.groups.tolist(), "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Outcome:
        """The inverse of `as_json`."""
        distances, groups = content["distances"], content["groups"]
        return cls(content["attack"], content["protocol"],
                   np.stack([from_bits(draw) for draw in content["correct"]], axis=1),
                   from_bits(content["majority"]), from_bits(content["reported"]),
                   None if groups is None else np.array(groups, dtype=np.int64), content["seconds"],
                   None if distances is None else np.array(distances, dtype=float))


def path_groups(first: int, images: int, attack_paths: int) -> Groups:
    """The path groups of `images` images of an evaluation from number `first` on.

    Image i is in group i mod `attack_paths`: any first images of a test set meet as many paths as they can, and in
    which batch an image is does not matter.
    """
    return np.arange(first, first + images, dtype=np.int64) % attack_paths


def batch_groups(first: int, images: int, batch_size: int) -> Groups:
    """The same where a batch is a group: of a network whose predictions depend on batch mates."""
    return np.arange(first, first + images, dtype=np.int64) // batch_size


def fewest_groups(several: Iterable[Groups | None]) -> Groups | None:
    """The groups by which outcomes on the same images are compared whose draws serve different ones: the fewest (of
    equally few the first), None if nothing is drawn for several images together."""
    return min((groups for groups in several if groups is not None), key=lambda groups: len(np.unique(groups)),
               default=None)


def joined(parts: Sequence[Outcome]) -> Outcome:
    """The outcome of several batches, in order."""
    first = parts[0]
    groups = None if first.groups is None else np.concatenate(
        [part.groups for part in parts if part.groups is not None])
    return Outcome(
        first.attack, first.protocol,
        np.concatenate([part.correct for part in parts]),
        np.concatenate([part.majority for part in parts]),
        np.concatenate([part.reported for part in parts]),
        groups, sum(part.seconds for part in parts),
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
