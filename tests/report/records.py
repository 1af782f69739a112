"""Fabricated records: made by hand, or outcomes drawn anew in a record that was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rnabench.report.record import FORMAT, Record, Result
from rnabench.report.record_file import read_record
from rnabench.report.scores import judged

ROOT = Path(__file__).parents[2]
CLEAN = {"images": 4, "zero_gradients": {"ce": 0.0}, "probabilities": False, "was_training": False, "changed": []}


def handmade(label: str, results: Sequence[Result], randomised: bool = True, attack_paths: int | None = None,
             images: int = 4, eps: float = 8 / 255, diagnosis: Mapping[str, Any] = CLEAN) -> Record:
    """The record of a network of which nothing is known but these results on digits; not judged."""
    return Record.model_validate({
        "format": FORMAT, "digest": label, "model": {"label": label, "weights_sha256": "0", "randomised": randomised},
        "data": {"name": "digits", "classes": list("0123456789"), "indices": list(range(images)), "fingerprint": "f"},
        "threat": {"norm": "Linf", "eps": eps, "step_size": eps / 4},
        "evaluation": {"seed": 0, "attack_paths": attack_paths, "suite": "quick", "cumulative": False},
        "versions": {}, "git": None, "device": {"device": "cpu"},
        "sanity": {"diagnosis": dict(diagnosis), "probes": []},
        "results": [each.content() for each in results],
    })


def changed(record: Record, **parts: Any) -> Record:
    """The record with other parts, checked; a mapping changes what it names, another record's part all."""
    content = record.content()
    for name, part in parts.items():
        content[name] = content[name] | part if isinstance(part, dict) and isinstance(content.get(name), dict) else part
    return Record.model_validate(content)


def model(name: str, share: float, seed: int, fewer: int = 0, method: str | None = None) -> Record:
    """A record of the randomised quickstart network whose outcomes under attack are drawn anew with this accuracy."""
    record = read_record(ROOT / "results" / "quickstart" / "bn+in.json")
    rng, results = np.random.default_rng(seed), []
    for measured in record.results:
        old = record.outcome(measured)
        old = old.first(len(old.correct) - fewer)
        drawn = replace(old, correct=rng.random(old.correct.shape) < share)
        results.append(measured.content() | Result.of(drawn, measured.draws_are, measured.parameters).content())
    return changed(record, model={"label": name, "method": method or name, "training_seed": seed},
                   digest=f"{name} {share} {seed}", results=results)


def trainings(method: str, shares: list[float], seed: int = 0) -> list[Record]:
    """One record per training, with these accuracies."""
    return [model(f"{method}.s{number}", share, 100 * seed + number, method=method)
            for number, share in enumerate(shares)]


def deterministic(record: Record) -> Record:
    """The same as of a network with a single path, attacked once."""
    kept = {each.attack: each.content() | {"protocol": "any"} for each in record.results}
    return changed(record, model={"randomised": False}, results=list(kept.values()), headline=None)


def beside(record: Record, baseline: Record) -> Record:
    """The record judged anew, with its baseline named."""
    return judged(record, baseline)
