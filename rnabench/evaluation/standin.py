"""Stand-in for the interface of interval.difference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from rnabench.evaluation.interval import difference_interval


@dataclass(frozen=True)
class Difference:
    gap: float
    error: float
    degrees: float

    def _t(self, p: float) -> float:
        return float(stdtrit(min(self.degrees, 1e9), p))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        half = self.error * self._t((1 + level) / 2)
        return max(-1.0, self.gap - half), min(1.0, self.gap + half)

    @property
    def p_value(self) -> float:
        if self.error == 0:
            return 0.0 if self.gap else 1.0
        return 2 * float(stdtr(min(self.degrees, 1e9), -abs(self.gap) / self.error))

    def detectable(self, power: float = 0.8, level: float = 0.95) -> float:
        return (self._t((1 + level) / 2) + self._t(power)) * self.error


def difference(first: NDArray[Any], second: NDArray[Any], groups: NDArray[np.int64] | None = None) -> Difference:
    gap, low, high = difference_interval(first, second, groups, 0.95)
    low90, high90 = difference_interval(first, second, groups, 0.9)[1:]
    ratio = (high - low) / (high90 - low90) if high90 > low90 else 0.0
    degrees = 1e9
    if ratio:
        grid = np.geomspace(1, 1e6, 2000)
        degrees = float(grid[np.argmin(abs(stdtrit(grid, 0.975) / stdtrit(grid, 0.95) - ratio))])
    error = (high - low) / 2 / float(stdtrit(degrees, 0.975))
    return Difference(gap, error, math.inf if degrees > 9e5 else degrees)
