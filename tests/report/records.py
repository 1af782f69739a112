"""Fabricated records: outcomes drawn anew, in a record that was measured."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rnabench.report.record import judged, outcome_of, read_record, result

ROOT = Path(__file__).parents[2]


def model(name: str, share: float, seed: int, fewer: int = 0, method: str | None = None) -> dict[str, Any]:
    """A record of the randomised quickstart network whose outcomes under attack are drawn anew with this accuracy."""
    record = copy.deepcopy(read_record(ROOT / "results" / "quickstart" / "bn+in.json"))
    record["model"] |= {"label": name, "method": method or name, "training_seed": seed}
    record["digest"] = f"{name} {share} {seed}"
    rng = np.random.default_rng(seed)
    for place, measured in enumerate(record["results"]):
        old = outcome_of(measured, record["evaluation"])
        old = old.first(len(old.correct) - fewer)
        drawn = replace(old, correct=rng.random(old.correct.shape) < share)
        record["results"][place] = measured | result(drawn, measured["draws_are"], measured["parameters"])
    return record


def trainings(method: str, shares: list[float], seed: int = 0) -> list[dict[str, Any]]:
    """One record per training, with these accuracies."""
    return [model(f"{method}.s{number}", share, 100 * seed + number, method=method)
            for number, share in enumerate(shares)]


def deterministic(record: dict[str, Any]) -> dict[str, Any]:
    """The same as of a network with a single path, attacked once."""
    record["model"]["randomised"] = False
    kept = {each["attack"]: each | {"protocol": "any"} for each in record["results"]}
    return record | {"results": list(kept.values()), "headline": None}


def beside(record: dict[str, Any], baseline: dict[str, Any]) -> dict[str, Any]:
    """The record judged anew, with its baseline named."""
    return judged({name: part for name, part in record.items() if name != "baseline"} | {
        "baseline": {"digest": baseline["digest"], "label": baseline["model"]["label"]}}, baseline)
