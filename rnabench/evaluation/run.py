"""One evaluation, from a network and options to a record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rnabench.attack.suite import parse_attack
from rnabench.data.sources import DataRequest, EvaluationData, evaluation_data
from rnabench.device import find_device
from rnabench.environment import device_description, git_revision, versions
from rnabench.errors import CheckpointError
from rnabench.evaluation.defence import Defence, ForeignModel, import_model
from rnabench.evaluation.engine import NATURAL, evaluate
from rnabench.evaluation.journal import Journal
from rnabench.evaluation.outcome import Outcome
from rnabench.files import sha256
from rnabench.model.saved import WEIGHTS, load_model, read_run
from rnabench.progress import Progress
from rnabench.recipe import DataKeys, EvaluationKeys, digest
from rnabench.report.record import FORMAT, result
from rnabench.stopping import StopRequest


@dataclass(frozen=True)
class Target:
    """A loaded network, the data that it is attacked on, and what a record says of it."""

    module: nn.Module
    defence: Defence
    data: EvaluationData
    description: dict[str, Any]


def load_run(folder: Path, keys: DataKeys | None, evaluation: EvaluationKeys, device_name: str,
             label: str | None = None) -> Target:
    """The network of a run folder, on its own test images unless `keys` names others.

    Raises CheckpointError if the network's classes are not the data set's.
    """
    device = find_device(device_name)
    run = read_run(folder)
    model = load_model(folder)
    if keys is None:
        names = ("dataset", "data_dir", "dataset_name", "download")
        keys = DataKeys.model_validate({name: run["recipe"][name] for name in names})
    data = open_data(keys, evaluation, device)
    classes = run["model"]["classes"]
    if len(classes) != len(data.classes):
        raise CheckpointError(f"run: {str(folder)!r} tells {len(classes)} classes apart; expected the "
                              f"{len(data.classes)} classes of dataset {data.name!r}")
    model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.precision = evaluation.precision
    description = {
        "label": label or folder.name, "digest": run["digest"], "weights_sha256": sha256(folder / WEIGHTS),
        "trained_on": run["data"], "selected": run.get("selected"), "training_versions": run.get("versions"),
        **{name: run["model"][name] for name in ("arch", "space", "width", "layer_based", "paths", "parameters")},
        "objective": run["recipe"]["objective"],
    }
    return Target(model, model, data, description)


def load_foreign(reference: str, keys: DataKeys, evaluation: EvaluationKeys, device_name: str) -> Target:
    """Anybody's network, `package.module:factory`. Raises ModelError, and the errors of the data set."""
    device = find_device(device_name)
    data = open_data(keys, evaluation, device)
    network = import_model(reference).to(device)
    first = next(data.source.in_order(min(8, evaluation.batch_size)))
    model = ForeignModel(network, first.images, len(data.classes))
    description = {"label": reference, "digest": None, "weights_sha256": None,
                   "randomised": model.space.is_random, "replayable": model.replayable}
    return Target(model, model, data, description)


def open_data(keys: DataKeys, evaluation: EvaluationKeys, device: torch.device) -> EvaluationData:
    request = DataRequest(keys.dataset, keys.data_dir, keys.dataset_name, keys.download)
    return evaluation_data(request, evaluation.n_examples, device)


def identity(target: Target, keys: EvaluationKeys) -> str:
    """The digest of everything that decides the outcomes."""
    return digest({
        "keys": keys.model_dump(mode="json") | {"step_size": keys.step}, "plan": keys.plan(),
        "model": target.description["weights_sha256"] or target.description["label"],
        "data": target.data.fingerprint,
    })


def attack(target: Target, keys: EvaluationKeys, journal_folder: Path | None, progress: Progress,
           stop: StopRequest) -> dict[str, Any]:
    """Run every cell and return the record. Raises Stopped (the journal is kept) and NumericalError."""
    name = identity(target, keys)
    journal = Journal(journal_folder, name)
    outcomes = evaluate(target.module, target.defence, target.data.source, len(target.data.classes), keys, journal,
                        progress, stop)
    random = target.defence.space.is_random
    record = {
        "format": FORMAT,
        "digest": name,
        "model": target.description,
        "data": {"name": target.data.name, "fingerprint": target.data.fingerprint,
                 "classes": list(target.data.classes), "indices": target.data.source.indices},
        "threat": {"norm": "Linf", "eps": keys.eps, "step_size": keys.step},
        "evaluation": keys.model_dump(mode="json", exclude={"eps", "step_size"}),
        "versions": versions(), "git": git_revision(),
        "device": device_description(str(next(iter(target.module.parameters())).device)),
        "results": [result(outcome, keys.granularity if random else "-", _parameters(outcome, keys))
                    for outcome in outcomes],
    }
    journal.remove()
    return record


def _parameters(outcome: Outcome, keys: EvaluationKeys) -> dict[str, Any]:
    if outcome.attack == NATURAL:
        return {}
    spec = parse_attack(outcome.attack)
    return {"loss": "cross-entropy", "eps": keys.eps, "steps": spec.steps, "random_start": spec.random_start,
            "step_size": keys.step if spec.random_start else keys.eps}


