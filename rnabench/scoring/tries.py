"""Accuracy against the number of tries: what is left when an attacker submits an image again and again.

A randomised defence draws anew for every query, so whoever may ask t times needs one wrong answer in t. The stored
draws tell it exactly for every t up to their number D, where a single worst-of-D says it for t = D only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnabench.scoring.interval import Bits, accuracy_interval
from rnabench.scoring.outcome import Outcome


@dataclass(frozen=True)
class Tries:
    """What `number` tries leave: the share of images that are right on all of them, and its 95 % interval, in [0, 1].
    """

    number: int
    accuracy: float
    interval: tuple[float, float]


def all_right(correct: Bits) -> NDArray[np.float64]:
    """The chance [N, D] that t = 1..D of an image's draws, chosen at random without replacement, are all right.

    Of `correct` [N, D], with w wrong draws, it is C(D - w, t) / C(D, t): the mean over all subsets of t draws, and so
    an unbiased estimate of the chance that t fresh draws are all right.
    """
    draws = correct.shape[1]
    taken = np.arange(draws)
    right_ones_left = np.maximum(correct.sum(1)[:, None] - taken, 0)
    return np.asarray(np.cumprod(right_ones_left / (draws - taken), axis=1))


def by_tries(outcome: Outcome) -> list[Tries]:
    """The accuracy under t = 1..D tries: the mean accuracy for t = 1, the worst of all draws for t = D.

    Where images of a path group share their draws, so do their tries; the intervals count images and groups as
    `accuracy_interval` does, and for t = 1 are its own; what bounds the accuracy under t tries from above bounds it
    under more.
    """
    chances, found = all_right(outcome.correct), list[Tries]()
    for number, chance in enumerate(chances.T, 1):
        low, high = accuracy_interval(np.broadcast_to(chance[:, None], chances.shape), outcome.groups)
        if found:  # a further try helps no defence; where next to nothing is left, an interval by itself says 0 to 1
            high = min(high, found[-1].interval[1])
        found.append(Tries(number, float(chance.mean()), (low, high)))
    return found
