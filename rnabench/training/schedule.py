"""Learning-rate schedules as functions of progress, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math
from collections.abc import Sequence

WARMUP = 0.25  # of a one-cycle run


def learning_rate(schedule: str, peak: float, progress: float, epoch: int = 0,
                  milestones: Sequence[int] | None = None) -> float:
    """The rate at `progress` in [0, 1) of all steps, in `epoch` (counted from 0).

    step: peak, a tenth after 1/2 and a hundredth after 3/4 (the paper's 100 and 150 of 200 epochs), or a tenth of the
    rate after each of `milestones`, in epochs; cosine: from peak to 0; one-cycle: linearly up to peak over the first
    quarter, then linearly to 0.
    """
    if milestones is not None:
        return peak * 0.1 ** sum(epoch >= milestone for milestone in milestones)
    if schedule == "step":
        return peak * (1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01)
    if schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * progress))
    return peak * (progress / WARMUP if progress < WARMUP else (1 - progress) / (1 - WARMUP))
