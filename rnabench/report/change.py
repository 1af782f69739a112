"""Whether an accuracy has changed: a test for each kind of evidence, and the smallest change that it could show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit

from rnabench.report.accuracies import Accuracy
from rnabench.scoring.interval import Difference, Z, difference
from rnabench.scoring.outcome import Outcome
from rnabench.scoring.significance import SignFlip, fewest

BY_IMAGE, BY_GROUP, BY_TRAINING = "paired by image", "paired by path group", "between trainings"
ONE_TRAINING, INTERVALS = "one training a side", "intervals"


class Change(Protocol):
    """A test of whether an accuracy has changed. `p` is two-sided; `smallest` is the least that `p` could be."""

    @property
    def rule(self) -> str: ...
    @property
    def p(self) -> float: ...
    @property
    def smallest(self) -> float: ...

    def needed(self, level: float) -> float:
        """The smallest change (a share) that would have a p-value of at most `level`."""


@dataclass(frozen=True)
class ByImage:
    """Outcomes [N images, D draws] of both sides. Every image is a sample: each has draws of its own, or both sides
    have the same draws."""

    new: Outcome
    old: Outcome
    rule: str = BY_IMAGE

    @cached_property
    def _test(self) -> SignFlip:
        return SignFlip(self.new.correct.sum(1, dtype=np.int64) - self.old.correct.sum(1, dtype=np.int64))

    @property
    def p(self) -> float:
        return self._test.p

    @property
    def smallest(self) -> float:
        return self._test.smallest

    def needed(self, level: float) -> float:
        images, draws = len(self.new.correct), self.new.correct.shape[1]
        enough = self._test.needed(level)
        return fewest(level) / images if enough is None else enough / (images * draws)


@dataclass(frozen=True)
class ByGroup:
    """Outcomes [N images, D draws] of both sides, whose draws are independent, and shared within a path group."""

    new: Outcome
    old: Outcome
    rule: str = BY_GROUP
    smallest: float = 0.0

    @cached_property
    def _difference(self) -> Difference:
        return difference(self.new.correct, self.old.correct, self.new.groups)

    @property
    def p(self) -> float:
        return self._difference.p_value

    def needed(self, level: float) -> float:
        low, high = self._difference.interval(1 - level)
        return (high - low) / 2


@dataclass(frozen=True)
class ByTraining:
    """Accuracies of several trainings, at least three in all. Their spread counts as at least one of the `images`."""

    new: Sequence[float]
    old: Sequence[float]
    images: int
    rule: str = BY_TRAINING
    smallest: float = 0.0

    @property
    def _degrees(self) -> int:
        return len(self.new) + len(self.old) - 2

    @property
    def _error(self) -> float:
        """The standard error of the change of means, from the spread within both sides."""
        squares = sum(float(((np.array(side) - np.mean(side)) ** 2).sum()) for side in (self.new, self.old))
        spread = max(math.sqrt(squares / self._degrees), 1 / self.images)
        return spread * math.sqrt(1 / len(self.new) + 1 / len(self.old))

    @property
    def p(self) -> float:
        gap = abs(float(np.mean(self.new) - np.mean(self.old)))
        return float(2 * stdtr(self._degrees, -gap / self._error))

    def needed(self, level: float) -> float:
        return float(stdtrit(self._degrees, 1 - level / 2)) * self._error


@dataclass(frozen=True)
class ByIntervals:
    """Two accuracies with their intervals; the half-widths on the sides that face each other are added as independent
    errors."""

    new: Accuracy
    old: Accuracy
    rule: str = INTERVALS
    smallest: float = 0.0

    @property
    def _half(self) -> float:
        new, old = self.new, self.old
        if new.accuracy > old.accuracy:
            return math.hypot(old.high - old.accuracy, new.accuracy - new.low)
        return math.hypot(old.accuracy - old.low, new.high - new.accuracy)

    @property
    def p(self) -> float:
        change = abs(self.new.accuracy - self.old.accuracy)
        if change <= 1e-9:  # equal, but for the rounding of a table.csv
            return 1.0
        return math.erfc(change / self._half * Z / math.sqrt(2)) if self._half else 0.0

    def needed(self, level: float) -> float:
        return self._half * -float(ndtri(level / 2)) / Z
