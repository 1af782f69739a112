"""Errors on corrupted images and their 95 % intervals: the mean corruption error of Hendrycks and Dietterich (2019).

Errors of a network are numbers in [0, 1]: [N images, D draws], the share of severities (and corruptions) at which an
image is wrong on a draw; a network without draws has one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnabench.scoring.interval import Groups, difference

Errors = NDArray[Any]
Estimate = tuple[float, float, float]
"""A number, and the limits of its interval."""


def mean_error(errors: Errors, groups: Groups | None) -> Estimate:
    """The mean of errors [N, D], in [0, 1]. `groups` as in `rnabench.scoring.interval`, here and below."""
    found = difference(errors, np.zeros((len(errors), 1)), groups)
    low, high = found.interval()
    return found.gap, max(0.0, low), high


def relative_error(errors: Errors, baseline: Errors, groups: Groups | None) -> Estimate | None:
    """The mean over C corruptions of errors relative to a baseline's, [C, N, D] each on the same images, paired by
    image; 1: as many errors. None if the baseline has no errors under a corruption.

    With the mean over severities for errors this is mCE = mean over c of (sum over s of E_sc) / (sum over s of
    E_sc of the baseline).
    """
    own, other = errors.mean((1, 2)), baseline.mean((1, 2))
    if not other.all():
        return None
    ratios = own / other
    draws = min(each.shape[2] for each in (errors, baseline) if each.shape[2] > 1) if max(
        errors.shape[2], baseline.shape[2]) > 1 else 1
    # the error of a ratio a / b is about that of the mean of (a_i - ratio * b_i) / b; in units of the baseline's mean
    # error it is on the scale of outcomes, for which `difference` is made
    unit = other.mean()
    apart = errors[:, :, :draws] - ratios[:, None, None] * baseline[:, :, :draws]
    linear = unit * (apart / other[:, None, None]).mean(0)
    margin = difference(linear, np.zeros((len(linear), 1)), groups).margin() / unit
    relative = float(ratios.mean())
    return relative, max(0.0, relative - margin), relative + margin


def gain(errors: Errors, reference: Errors, groups: Groups | None) -> Estimate:
    """How much lower the mean error is than a reference's on the same images, [N, D] each, in [-1, 1]."""
    found = difference(reference, errors, groups)
    return found.gap, *found.interval()


def relative_gain(errors: Errors, reference: Errors, groups: Groups | None) -> Estimate | None:
    """The share of the reference's mean error that is gone, [N, D] each on the same images; None if it has none."""
    left = relative_error(errors[None], reference[None], groups)
    return left and (1 - left[0], 1 - left[2], 1 - left[1])
