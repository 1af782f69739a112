"""The record: one JSON file per evaluated network, from which every table is drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnabench.errors import RnabenchError
from rnabench.evaluation.outcome import Outcome, bits
from rnabench.files import write_text

FORMAT = 1


def result(outcome: Outcome, draws_are: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """One attack under one protocol as JSON; accuracies are shares in [0, 1], outcomes strings of 0 and 1.

    `outcomes.correct` has one string per draw, its characters in the order of the record's `data.indices`.
    """
    low, high = outcome.interval
    return {
        "attack": outcome.attack,
        "protocol": outcome.protocol,
        "parameters": parameters,
        "draws": outcome.correct.shape[1],
        "draws_are": draws_are,
        "accuracy": outcome.accuracy,
        "interval95": [low, high],
        "worst_of_draws": outcome.worst,
        "majority": float(outcome.majority.mean()),
        "attack_reported": float(outcome.reported.mean()),
        "seconds": round(outcome.seconds, 2),
        "outcomes": {
            "correct": [bits(draw) for draw in outcome.correct.T],
            "majority": bits(outcome.majority),
            "reported": bits(outcome.reported),
        },
    }


def write_record(record: dict[str, Any], file: Path) -> None:
    """Write a record atomically, with the indices of the examples on one line."""
    indices = record["data"]["indices"]
    text = json.dumps(record | {"data": record["data"] | {"indices": "@indices"}}, indent=1)
    write_text(file, text.replace('"@indices"', json.dumps(indices)) + "\n")


def read_record(file: Path) -> dict[str, Any]:
    """A record. Raises RnabenchError for a file that is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RnabenchError(f"record: {str(file)!r} cannot be read ({type(error).__name__}); expected JSON written by "
                            "`rnabench attack`") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT or "results" not in content:
        raise RnabenchError(f"record: {str(file)!r} is no record of format {FORMAT}")
    return content


def rows(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per model, attack and protocol: the columns of `table.csv`, unrounded."""
    return [
        {
            "model": record["model"]["label"],
            "attack": result["attack"],
            "protocol": result["protocol"],
            "accuracy": result["accuracy"],
            "low95": result["interval95"][0],
            "high95": result["interval95"][1],
            "worst_of_draws": result["worst_of_draws"],
            "majority": result["majority"],
            "attack_reported": result["attack_reported"],
            "draws": result["draws"],
            "draws_are": result["draws_are"],
            "images": len(record["data"]["indices"]),
            "dataset": record["data"]["name"],
            "threat": record["threat"]["norm"],
            "eps": record["threat"]["eps"],
            "digest": record["digest"],
        }
        for record in records
        for result in record["results"]
    ]
