"""The record: one JSON file per evaluated network, from which every table is drawn."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rnabench.errors import RnabenchError
from rnabench.runtime.files import write_text
from rnabench.scoring.flag import Row
from rnabench.scoring.headline import Headline, worst_case
from rnabench.scoring.outcome import Outcome, bits, from_bits, path_groups
from rnabench.scoring.sanity import judge
from rnabench.settings.attacks import parse_attack, resolved
from rnabench.settings.protocols import parse_protocol
from rnabench.settings.suites import SUITES

FORMAT = 3
READABLE = (2, 3)  # of format 2: made before algorithms had versions


def result(outcome: Outcome, draws_are: str, parameters: dict[str, Any], bounded: bool = True) -> dict[str, Any]:
    """One attack under one protocol as JSON; accuracies are shares in [0, 1], outcomes strings of 0 and 1.

    `outcomes.correct` has one string per draw, its characters in the order of the record's `data.indices`, of which an
    attack may have seen the first ones only. Attacks that
    know no eps (`bounded` false) also have the Euclidean change of every image, and the median over those that had to
    be moved and are misclassified on the attacker's path.
    """
    low, high = outcome.interval
    distances = {} if outcome.distances is None else {"distances": [round(float(d), 5) for d in outcome.distances]}
    return {
        "attack": outcome.attack,
        "protocol": outcome.protocol,
        "parameters": parameters,
        "bounded": bounded,
        "draws": outcome.correct.shape[1],
        "draws_are": draws_are,
        "accuracy": outcome.accuracy,
        "interval95": [low, high],
        "worst_of_draws": outcome.worst,
        "majority": float(outcome.majority.mean()),
        "attack_reported": float(outcome.reported.mean()),
        "median_l2": outcome.median_distance,
        "seconds": round(outcome.seconds, 2),
        "outcomes": {
            "correct": [bits(draw) for draw in outcome.correct.T],
            "majority": bits(outcome.majority),
            "reported": bits(outcome.reported),
            **distances,
        },
    }


def outcome_of(result: dict[str, Any], evaluation: Mapping[str, Any]) -> Outcome:
    """The inverse of `result`; `evaluation` is the record's part of that name."""
    kept = result["outcomes"]
    correct = np.stack([from_bits(draw) for draw in kept["correct"]], axis=1)
    groups = None
    if result["draws_are"] == "group":
        groups = path_groups(0, len(correct), evaluation["attack_paths"])
    elif result["draws_are"] == "batch":  # records of before path groups
        groups = np.arange(len(correct)) // int(evaluation["batch_size"])
    distances = np.array(kept["distances"], dtype=float) if "distances" in kept else None
    return Outcome(result["attack"], result["protocol"], correct, from_bits(kept["majority"]),
                   from_bits(kept["reported"]), groups, result["seconds"], distances)


def sanity_rows(record: dict[str, Any]) -> list[Row]:
    """The rows that sanity checks look at: the table's, then the probes'."""
    return [Row(outcome_of(result, record["evaluation"]), result["parameters"])
            for result in [*record["results"], *record["sanity"]["probes"]]]


def judged(record: dict[str, Any], baseline: dict[str, Any] | None = None) -> dict[str, Any]:
    """The record with its sanity flags, and what follows from them; `baseline` is the deterministic model's record."""
    flags = judge(sanity_rows(record), record["sanity"]["diagnosis"], len(record["data"]["classes"]),
                  record["threat"]["eps"], record["model"]["randomised"], sanity_rows(baseline) if baseline else (),
                  record["evaluation"]["cumulative"])
    failed = [flag for flag in flags if flag.status == "FAIL"]
    everything = any(not flag.rows for flag in failed)
    rows = {row for flag in failed for row in flag.rows}
    results = [result | {"unreliable": result["attack"] != "natural" and (
        everything or (result["attack"], result["protocol"]) in rows)} for result in record["results"]]
    return record | {
        "unreliable": bool(failed),
        "headline": headline_json(record),
        "sanity": record["sanity"] | {"flags": [asdict(flag) | {"name": flag.name} for flag in flags]},
        "results": results,
    }


def averaging(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The results that the headline rests on: bounded attacks at the evaluation's eps that average over paths (all
    bounded ones, for a deterministic model)."""
    return [
        result for result in record["results"]
        if result["bounded"] and result["attack"] != "natural" and result["parameters"]["backend"] != "torchattacks"
        and result["parameters"]["eps"] == record["threat"]["eps"]
        and (result["protocol"].startswith("eot:") or not record["model"]["randomised"])
    ]


def headline(record: dict[str, Any], attacks: Collection[str] | None = None) -> Headline | None:
    """The worst case over these (over those named in `attacks`), on the images that all of them saw."""
    outcomes = [outcome_of(result, record["evaluation"]) for result in averaging(record)
                if attacks is None or result["attack"] in attacks]
    shared = min((len(outcome.correct) for outcome in outcomes), default=0)
    return worst_case([outcome.first(shared) for outcome in outcomes])


def images_of(result: dict[str, Any]) -> int:
    """On how many of the record's images the attack was run: the first ones."""
    return len(result["outcomes"]["majority"])


def headline_json(record: dict[str, Any]) -> dict[str, Any] | None:
    found = headline(record)
    if found is None:
        return None
    return {
        "attacks": list(found.attacks), "accuracy": found.outcome.accuracy,
        "interval95": list(found.outcome.interval), "worst_of_draws": found.worst,
        "majority": float(found.outcome.majority.mean()), "attack_reported": float(found.outcome.reported.mean()),
        "adaptive_suite": is_adaptive_suite(record),
    }


def is_adaptive_suite(record: dict[str, Any]) -> bool:
    """Whether every attack of the built-in suite `adaptive` was run with just its parameters (whatever its name), and
    averaged over at least as many paths; a deterministic model has none."""
    threat, suite = record["threat"], SUITES["adaptive"]
    fewest = min(parse_protocol(protocol).samples for protocol in suite.protocols)
    run = [result["parameters"] for result in averaging(record)
           if not record["model"]["randomised"] or parse_protocol(result["protocol"]).samples >= fewest]
    wanted = [resolved(parse_attack(attack), threat["eps"], threat["step_size"]) for attack in suite.attacks]
    return all(any(settings.items() <= parameters.items() for parameters in run) for settings in wanted)


def write_record(record: dict[str, Any], file: Path) -> None:
    """Write a record atomically, with long lists of numbers on one line each."""
    lists: list[str] = []

    def folded(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: folded(part) for name, part in value.items()}
        if isinstance(value, list) and len(value) > 4 and all(isinstance(part, int | float) for part in value):
            lists.append(json.dumps(value))
            return f"@list {len(lists) - 1}@"
        return [folded(part) for part in value] if isinstance(value, list | tuple) else value

    text = json.dumps(folded(record), indent=1)
    for number, content in enumerate(lists):
        text = text.replace(f'"@list {number}@"', content, 1)
    write_text(file, text + "\n")


def read_record(file: Path) -> dict[str, Any]:
    """A record. Raises RnabenchError for a file that is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RnabenchError(f"record: {str(file)!r} cannot be read ({type(error).__name__}); expected JSON written by "
                            "`rnabench attack`") from None
    if not isinstance(content, dict) or "results" not in content or "format" not in content:
        raise RnabenchError(f"record: {str(file)!r} is no record; expected JSON written by `rnabench attack`")
    if content["format"] not in READABLE:
        raise RnabenchError(f"record: {str(file)!r} has format {content['format']!r}; expected {FORMAT}: run the same "
                            "command with --no-resume or another --out")
    return content


def method_of(record: dict[str, Any]) -> str:
    """What several trainings have in common: the name of their model in a recipe; of one training alone, its own."""
    return str(record["model"].get("method", record["model"]["label"]))


def rows(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per model, attack and protocol: the columns of `table.csv`, unrounded, and each model's worst case."""
    found = []
    for record in records:
        shared = {"dataset": record["data"]["name"], "threat": record["threat"]["norm"], "digest": record["digest"],
                  "method": method_of(record), "training_seed": record["model"].get("training_seed")}
        for result in record["results"]:
            found.append({
                "model": record["model"]["label"], "attack": result["attack"], "protocol": result["protocol"],
                "accuracy": result["accuracy"], "low95": result["interval95"][0], "high95": result["interval95"][1],
                "worst_of_draws": result["worst_of_draws"], "majority": result["majority"],
                "attack_reported": result["attack_reported"], "median_l2": result["median_l2"],
                "draws": result["draws"], "draws_are": result["draws_are"], "unreliable": result["unreliable"],
                "few_paths": outcome_of(result, record["evaluation"]).few_paths,
                "eps": result["parameters"].get("eps", record["threat"]["eps"]), "images": images_of(result), **shared,
            })
        if (best := record["headline"]) is not None and len(best["attacks"]) > 1:
            last = averaging(record)[-1]
            found.append({
                "model": record["model"]["label"], "attack": f"worst case of {len(best['attacks'])}",
                "protocol": "+".join(dict.fromkeys(result["protocol"] for result in averaging(record))),
                "accuracy": best["accuracy"], "low95": best["interval95"][0], "high95": best["interval95"][1],
                "worst_of_draws": best["worst_of_draws"], "majority": best["majority"],
                "attack_reported": best["attack_reported"], "median_l2": None,
                "draws": last["draws"], "draws_are": last["draws_are"],
                "unreliable": any(result["unreliable"] for result in averaging(record)),
                "few_paths": outcome_of(last, record["evaluation"]).few_paths,
                "eps": record["threat"]["eps"], "images": min(map(images_of, averaging(record))), **shared,
            })
    return found
