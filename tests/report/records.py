"""Fabricated records: outcomes drawn anew, in a record that was measured."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np

from rnabench.evaluation.outcome import bits
from rnabench.report.record import judged, read_record

ROOT = Path(__file__).parents[2]


def model(name: str, share: float, seed: int, fewer: int = 0, method: str | None = None, images: int | None = None
          ) -> dict[str, Any]:
    """A record of the randomised quickstart network whose outcomes under attack are drawn anew with this accuracy."""
    record = copy.deepcopy(read_record(ROOT / "results" / "quickstart" / "bn+in.json"))
    record["model"] |= {"label": name, "method": method or name, "training_seed": seed}
    record["digest"] = f"{name} {share} {seed}"
    rng = np.random.default_rng(seed)
    for result in record["results"]:
        kept = result["outcomes"]
        count = (images or len(kept["majority"])) - fewer
        kept["correct"] = [bits(rng.random(count) < share) for _ in kept["correct"]]
        kept["majority"], kept["reported"] = kept["majority"][:count], kept["reported"][:count]
        result["accuracy"] = float(np.mean([[int(bit) for bit in draw] for draw in kept["correct"]]))
    return record


def trainings(method: str, shares: list[float], seed: int = 0) -> list[dict[str, Any]]:
    """One record per training, with these accuracies."""
    return [model(f"{method}.s{number}", share, 100 * seed + number, method=method)
            for number, share in enumerate(shares)]


def deterministic(record: dict[str, Any]) -> dict[str, Any]:
    """The same as of a network with a single path, attacked once."""
    record["model"]["randomised"] = False
    kept = {result["attack"]: result | {"protocol": "any"} for result in record["results"]}
    return record | {"results": list(kept.values()), "headline": None}


def beside(record: dict[str, Any], baseline: dict[str, Any]) -> dict[str, Any]:
    """The record judged anew, with its baseline named."""
    return judged({name: part for name, part in record.items() if name != "baseline"} | {
        "baseline": {"digest": baseline["digest"], "label": baseline["model"]["label"]}}, baseline)
