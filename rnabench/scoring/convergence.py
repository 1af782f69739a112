"""When an attack is strong enough: a stopping rule for what can be doubled, and how noisy its gradients are.

The rule: double a value (draws per gradient, steps), attack the same images again, and stop when the paired 95 %
interval of the change in accuracy lies within the tolerance on either side of zero. At a doubling whose true change is
the tolerance or more, an interval that holds it is not within: so a rung stops wrongly in at most 2.5 of 100 cases,
and a ladder of R rungs in at most R times as many, however large the changes are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnabench.scoring.interval import Bits, Difference, Groups, difference

WRONG = 0.025  # the chance, at most, that a rung stops although its true change is the tolerance or more


@dataclass(frozen=True)
class Rung:
    """What is `correct` [N, D] at a value, and how much more than at half of it (None at the first)."""

    value: int
    correct: Bits
    change: Difference | None = None

    def is_within(self, tolerance: float) -> bool:
        """Whether the 95 % interval of the change lies within so much (a share) of zero."""
        if self.change is None:
            return False
        low, high = self.change.interval()
        return -tolerance <= low and high <= tolerance


def doubled(first: int, most: int) -> list[int]:
    """`first`, twice that, and so on, up to `most`."""
    values = [first]
    while 2 * values[-1] <= most:
        values.append(2 * values[-1])
    return values


def climb(values: list[int], measure: Callable[[int], Bits], groups: Groups | None, tolerance: float
          ) -> Iterator[Rung]:
    """The rungs until one is within the tolerance, or until there are no more values. `measure`: what is correct at a
    value, [N, D] on the same images and draws; `groups` as in `accuracy_interval`."""
    before: Bits | None = None
    for value in values:
        correct = measure(value)
        rung = Rung(value, correct, None if before is None else difference(correct, before, groups))
        yield rung
        if rung.is_within(tolerance):
            return
        before = correct


def images_to_tell(rung: Rung, tolerance: float) -> int | None:
    """About how many images, with as many more path groups, would have shown that the change is within the tolerance,
    if it is what was seen; None if that is not within, or nothing is known of the error."""
    if rung.change is None or not np.isfinite(rung.change.error) or abs(rung.change.gap) >= tolerance:
        return None
    return int(np.ceil(len(rung.correct) * (rung.change.margin() / (tolerance - abs(rung.change.gap))) ** 2))


@dataclass(frozen=True)
class GradientNoise:
    """Of M draws g_m of each image's gradient: `mean_norm` [N] the norm of their mean, `squares` [N] the sum over draws
    of |g_m - mean|^2, `draws` M (2 or more)."""

    mean_norm: NDArray[np.float64]
    squares: NDArray[np.float64]
    draws: int

    @property
    def variance(self) -> NDArray[np.float64]:
        """Of a single draw, summed over pixels, [N]: squares / (M - 1)."""
        return self.squares / (self.draws - 1)

    @property
    def signal_to_noise(self) -> NDArray[np.float64]:
        """|mean| / |standard error of the mean| = |mean| / sqrt(variance / M), [N]; infinite where no draw differs, NaN
        where there is no gradient either. Pure noise has about 1."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.mean_norm / np.sqrt(self.variance / self.draws))

    @property
    def draws_needed(self) -> NDArray[np.float64]:
        """How many draws the mean needs for a ratio of 1 between the true mean's norm and its standard error, [N]:
        variance / |true mean|^2, where |true mean|^2 is estimated without bias by |mean|^2 - variance / M. Infinite
        where that is not above 0: M draws are too few to see a signal; NaN where there is no gradient."""
        signal = np.square(self.mean_norm) - self.variance / self.draws
        with np.errstate(divide="ignore", invalid="ignore"):
            needed = np.where(signal > 0, self.variance / signal, np.inf)
        return np.where((self.mean_norm == 0) & (self.squares == 0), np.nan, needed)
