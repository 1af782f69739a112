"""Versions of the algorithms that numbers rest on. A change that changes numbers raises the version of its algorithm.

Runs and records keep the versions that made them, so that a number of an older algorithm is never taken for today's.
An attack's version stands in its class (`rnabench.attack`), a study's in its own (`rnabench.studies`).
"""

from __future__ import annotations

from collections.abc import Mapping

from rnabench.settings.attacks import ATTACKS
from rnabench.settings.studies import STUDIES

STREAMS = 2  # how random numbers follow from (seed, purpose, example, draw): rnabench.seeding
TRAINING = 2  # objective, order, augmentation, schedule, optimiser: rnabench.training
SELECTION = 2  # which epoch is the best: rnabench.training.loop
SCORING = 2  # which paths score which images, and how a batch's outcomes are counted: rnabench.evaluation.batch
ONE_PATH = 2  # gradients through one frozen path, and which images share one: rnabench.attack.estimators
EXPECTATION = 2  # gradients averaged over fresh paths: rnabench.attack.estimators

BEFORE = "made before algorithms had versions"


def training_versions(select: str) -> dict[str, int]:
    """What a trained network rests on; `select` as in the recipe."""
    versions = {"streams": STREAMS, "training": TRAINING}
    return versions | {"selection": SELECTION} if select == "best" else versions


def cell_versions(attack: str | None, averages: bool) -> dict[str, int]:
    """What an accuracy rests on: of an attack of that kind (None: no attack), which averages over paths or does not."""
    versions = {"streams": STREAMS, "scoring": SCORING}
    if attack is None:
        return versions
    versions |= {"expectation": EXPECTATION} if averages else {"one path": ONE_PATH}
    # of a package that is not installed today nothing is known
    return versions | ({attack: ATTACKS[attack].version} if attack in ATTACKS else {})


def study_versions(study: str, *attacks: str | None) -> dict[str, int]:
    """What a study rests on; `attacks` are the kinds of its attacks, if it has some (None: none)."""
    versions = {"streams": STREAMS, study: STUDIES[study].version}
    for attack in filter(None, attacks):
        versions |= cell_versions(attack, True) | cell_versions(attack, False)
    return versions


def outdated(kept: Mapping[str, int] | None, today: Mapping[str, int]) -> list[str]:
    """What differs between the versions that made something and today's, in words; nothing if none does."""
    if kept is None:
        return [BEFORE]
    return [f"{name} {kept.get(name, 'none')}, now {today.get(name, 'none')}" for name in {**kept, **today}
            if kept.get(name) != today.get(name)]
