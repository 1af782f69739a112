"""Whether paired outcomes have moved: the sign-flip test, exact for any number of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

EXACT = 500  # from so many differences on, the normal distribution serves: they move p by less than a thousandth


@dataclass(frozen=True)
class SignFlip:
    """The test that `differences` [units] (whole numbers) are as likely to have one sign as the other.

    If nothing but chance tells the two measurements of a unit apart, they might as well be swapped. So the sum of the
    differences is compared with the sums under all choices of their signs. For differences of -1, 0 and 1 this is
    McNemar's exact test.
    """

    differences: NDArray[np.int64]

    @property
    def p(self) -> float:
        """The share of choices whose sum is as far from 0, on either side."""
        total = abs(int(self._moved.sum()))
        if self._is_large:
            return math.erfc(total / math.sqrt(2 * self._squares)) if total else 1.0
        return min(1.0, float(self._tail[total]))

    @property
    def smallest(self) -> float:
        """The smallest p-value that differences of these sizes can have: with fewer than six it is above 5 %."""
        return 2.0 ** (1 - len(self._moved)) if len(self._moved) else 1.0

    def needed(self, level: float) -> int | None:
        """The smallest sum, to either side, of differences of these sizes that has a p-value of at most `level`; None
        where there is none."""
        if self.smallest > level:
            return None
        if self._is_large:
            return math.ceil(-float(ndtri(level / 2)) * math.sqrt(self._squares)) * self._unit
        enough = np.flatnonzero((self._tail <= level) & (self._by_sum > 0))
        return int(enough[0]) * self._unit

    @cached_property
    def _unit(self) -> int:
        return int(np.gcd.reduce(self.differences)) or 1

    @cached_property
    def _moved(self) -> NDArray[np.int64]:
        """What is not 0, in the largest common unit."""
        found: NDArray[np.int64] = self.differences[self.differences != 0] // self._unit
        return found

    @property
    def _is_large(self) -> bool:
        return len(self._moved) > EXACT

    @property
    def _squares(self) -> float:
        return float((self._moved.astype(float) ** 2).sum())

    @cached_property
    def _by_sum(self) -> NDArray[np.float64]:
        """The probability of every absolute sum over random signs."""
        sizes = np.abs(self._moved)
        positive = np.ones(1)  # of the sum of those sizes whose sign is +
        for size in sizes:
            longer = np.zeros(len(positive) + size)
            longer[: len(positive)] += positive / 2
            longer[size:] += positive / 2
            positive = longer
        return np.bincount(np.abs(2 * np.arange(len(positive)) - sizes.sum()), weights=positive).astype(np.float64)

    @cached_property
    def _tail(self) -> NDArray[np.float64]:
        """[s]: the probability of an absolute sum of at least s."""
        return np.cumsum(self._by_sum[::-1])[::-1]


def fewest(level: float) -> int:
    """How many equal differences, all of one sign, have a p-value of at most `level`."""
    return math.ceil(1 - math.log2(level))


ERROR_RATE = 0.05  # of a family of tests: all claims of a table, all its verdicts


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the given order: those below 0.05 may all be called significant, and the chance that
    any of them is wrong is at most 5 %, whatever the tests have in common.

    The smallest of m is multiplied by m, the next one by m - 1 and so on; none gets below a smaller one's, none above
    1. A p-value that is not a number, of a test that could not be made, counts as 1.
    """
    judged = [1.0 if p != p else min(max(float(p), 0.0), 1.0) for p in p_values]
    adjusted, largest = [1.0] * len(judged), 0.0
    for place, number in enumerate(sorted(range(len(judged)), key=judged.__getitem__)):
        largest = max(largest, (len(judged) - place) * judged[number])
        adjusted[number] = min(1.0, largest)
    return adjusted
