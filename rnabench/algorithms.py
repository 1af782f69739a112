"""Versions of the algorithms that numbers rest on. A change that changes numbers raises the version of its algorithm.

Runs and records keep the versions that made them, so that a number of an older algorithm is never taken for today's.
(An attack's version stands with its parameters, in `rnabench.attack.catalogue`.)
"""

from __future__ import annotations

STREAMS = 2  # how random numbers follow from (seed, purpose, example, draw): rnabench.seeding
TRAINING = 2  # objective, order, augmentation, schedule, optimiser: rnabench.training
SELECTION = 2  # which epoch is the best: rnabench.training.holdout


def training_versions(select: str) -> dict[str, int]:
    """What a trained network rests on; `select` as in the recipe."""
    versions = {"streams": STREAMS, "training": TRAINING}
    return versions | {"selection": SELECTION} if select == "best" else versions
