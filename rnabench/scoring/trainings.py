"""Two methods compared over several trainings of each: the trainings are a sample, and so are images and path draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnabench.scoring.interval import Difference, Groups, difference
from rnabench.scoring.outcome import Outcome, fewest_groups

Numbers = NDArray[np.float64]
Outcomes = Sequence[Outcome]  # of one attack on the trainings of one method


@dataclass(frozen=True)
class Compared:
    """How much higher the `first` accuracy is than the `second`, and how many trainings of each tell it."""

    difference: Difference
    first: float
    second: float
    trainings: tuple[int, int]

    @property
    def basis(self) -> str:
        """The number of trainings in words."""
        one, other = self.trainings
        if one == other:
            return "one training each" if one == 1 else f"{one} trainings each"
        return f"{one} against {other} trainings"


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation over trainings."""
    return float(np.mean(values)), float(np.std(values, ddof=1))


def compare(first: Outcomes, second: Outcomes) -> Compared:
    """Two methods on the images that all their trainings saw.

    With several trainings on both sides the difference is that of the means over trainings, for other trainings and
    other images: Welch's variance of the trainings' accuracies, plus what the choice of images and paths adds for
    trainings that stay as they are. The trainings' own spread holds a part of that already (each training is lucky with
    other images); it is taken off. The degrees of freedom are Welch's and Satterthwaite's. Otherwise, as one training
    tells nothing of others, the first of each are compared, with images and draws as samples.
    """
    if min(len(first), len(second)) == 1:
        first, second = first[:1], second[:1]
    images = min(len(each.correct) for each in (*first, *second))
    groups = fewest_groups(each.groups[:images] for each in (*first, *second) if each.groups is not None)
    ours, theirs = (_alike(side, images) for side in (first, second))
    found = difference(ours.mean(0), theirs.mean(0), groups)
    if len(first) > 1:
        found = _over_trainings(ours, theirs, groups, found)
    return Compared(found, float(ours.mean()), float(theirs.mean()), (len(first), len(second)))


def _alike(side: Outcomes, images: int) -> Numbers:
    """What the trainings of a method got right, [trainings, images, draws]."""
    draws = min(each.correct.shape[1] for each in side)
    return np.stack([each.correct[:images, :draws] for each in side]).astype(float)


def _over_trainings(ours: Numbers, theirs: Numbers, groups: Groups | None, fixed: Difference) -> Difference:
    """The difference of the means, with the variance of trainings beside that of images and draws (`fixed`)."""
    if math.isinf(fixed.error):  # a single draw for all images
        return fixed
    held = sum(_held(side, groups) for side in (ours, theirs))
    parts = [(float(side.mean((1, 2)).var(ddof=1)) / len(side), len(side) - 1.0) for side in (ours, theirs)]
    parts.append((max(0.0, fixed.error**2 - held), fixed.degrees))
    variance = sum(part for part, _ in parts)
    slack = sum(part**2 / degrees for part, degrees in parts if part > 0)
    return Difference(fixed.gap, math.sqrt(variance), variance**2 / slack if slack > 0 else math.inf)


def _held(side: Numbers, groups: Groups | None) -> float:
    """The part of the variance of the mean over trainings that images and draws make, as it is in their spread.

    It is seen in how a training departs from the mean of its n on the same images and draws; that departure has the
    (n - 1)-fold of the mean's variance.
    """
    mean = side.mean(0)
    return float(np.mean([difference(each, mean, groups).error ** 2 for each in side])) / (len(side) - 1)
