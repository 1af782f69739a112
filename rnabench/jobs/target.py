"""What is attacked: a loaded network, beside the data that it is attacked on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from rnabench.data.sources import EvaluationData, evaluation_data
from rnabench.defence.defence import Defence, replayable
from rnabench.errors import CheckpointError, InvalidSettings, all_at_once
from rnabench.evaluation.cells import Cell, Surrogate, cells, probes
from rnabench.model.deployment import deploy
from rnabench.model.runs import RUN_FILE, WEIGHTS, damaged, read_run, without_places
from rnabench.model.saved import load_model
from rnabench.report.network import Network
from rnabench.runtime.device import check_precision, find_device
from rnabench.runtime.files import sha256
from rnabench.settings.base import problems
from rnabench.settings.corruptions import parse_corruption
from rnabench.settings.datasets import DataSettings
from rnabench.settings.deployment import AS_TRAINED, Deployment, with_use
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.parts import unusual_parts


@dataclass(frozen=True)
class Target:
    """A loaded network, the data that it is attacked on, and what a record says of it; `surrogate` is the network that
    a transfer attack makes its images on."""

    module: nn.Module
    defence: Defence
    data: EvaluationData
    description: dict[str, Any]
    device: torch.device
    surrogate: Surrogate | None = None

    @property
    def deployed(self) -> dict[str, Any]:
        """How its network is used, as far as that is not the default."""
        changes: dict[str, Any] = self.description.get("deployed", {})
        return changes

    def cells(self, keys: EvaluationSettings) -> list[Cell]:
        """The table's cells."""
        return cells(keys, self.defence.space.is_random, self.surrogate.name if self.surrogate else None)

    def probes(self, keys: EvaluationSettings) -> list[Cell]:
        """The sanity checks' own cells."""
        return probes(keys, self.defence.space.is_random, self.surrogate.name if self.surrogate else None,
                      replayable(self.defence))


def load_run(folder: Path, changes: Mapping[str, Any], evaluation: EvaluationSettings, device_name: str,
             label: str | None = None, method: str | None = None, same_classes: bool = True,
             deployment: Deployment = AS_TRAINED) -> Target:
    """The network of a run folder, used as `deployment` says, on the test images of its own data set, or of the one
    that `changes` (keys of DataSettings) names.

    Results call it `label`; networks that differ in their seed alone are trainings of one `method`. Raises
    CheckpointError if the network's classes are not the data set's but should be (`same_classes`), InvalidValue for a
    deployment that it cannot have, and the errors of both.
    """
    device = find_device(device_name)
    check_precision(evaluation.precision, device)
    run = read_run(folder, whole=True)
    model = load_model(folder)
    data = open_data(attacked_data(run["recipe"], changes, folder / RUN_FILE), evaluation, device)
    if same_classes:
        check_classes(run["model"]["classes"], data, folder)
    model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.precision = evaluation.precision
    model = deploy(model, deployment, f"{run['model']['arch']} with space {run['model']['space']}")
    changed = deployment.changes()
    description = {
        "label": (name := label or with_use(folder.resolve().name, changed)), "method": method or name,
        "training_seed": run["recipe"].get("seed"), "digest": run["digest"],
        "weights_sha256": sha256(folder / WEIGHTS), "trained_on": run["data"], "selected": run.get("selected"),
        "training": {name: run.get(name) for name in ("git", "versions", "device", "algorithms")},
        **{name: run["model"][name] for name in ("arch", "space", "width", "layer_based", "paths", "parameters")},
        **unusual_parts(run["model"]),
        "objective": run["recipe"]["objective"], "randomised": model.space.is_random,
        "batch_dependent": model.batch_dependent,
        "recipe": without_places(run["recipe"]),
        **({"rounded": run["rounded"]["to"]} if run.get("rounded") else {}),
        **({"deployed": changed, "paths": model.space.count_in_digits} if changed else {}),
    }
    try:
        Network.model_validate(description)  # now, and not once there is a record to be written
    except ValidationError as error:
        raise damaged(folder, error) from None
    return Target(model, model, data, description, device)


def attacked_data(recipe: Mapping[str, Any], changes: Mapping[str, Any], file: Path | None = None) -> DataSettings:
    """The data keys of a training recipe, which stands in `file`, with changes; another data set starts from nothing.
    Raises InvalidSettings."""
    same = changes.get("dataset", recipe["dataset"]) == recipe["dataset"]
    own = {name: recipe[name] for name in DataSettings.model_fields} if same else {}
    try:
        return DataSettings.model_validate({**own, **changes})
    except ValidationError as error:
        of_file = [] if file is None else [name for name in own if name not in changes and own[name] is not None]
        raise InvalidSettings(all_at_once([
            f"run: {str(file)!r}: recipe.{key}: {text}" if key in of_file else f"--{key.replace('_', '-')}: {text}"
            for key, text in problems(error, DataSettings)])) from None


def check_classes(known: list[str], data: EvaluationData, folder: Path) -> None:
    """Raises CheckpointError if the classes that a run's network knows are not the data set's."""
    if len(known) != len(data.classes):
        raise CheckpointError(f"run: {str(folder)!r} tells {len(known)} classes apart; expected the "
                              f"{len(data.classes)} classes of dataset {data.name!r}")
    for number, (ours, theirs) in enumerate(zip(known, data.classes, strict=True)):
        if ours != theirs:
            raise CheckpointError(f"run: {str(folder)!r} knows class {number} as {ours!r}; expected {theirs!r}, as in "
                                  f"dataset {data.name!r}")


def open_data(keys: DataSettings, evaluation: EvaluationSettings, device: torch.device) -> EvaluationData:
    corrupted = None if evaluation.corruption is None else parse_corruption(evaluation.corruption)
    return evaluation_data(keys, evaluation.n_examples, device, evaluation.indices, corrupted, evaluation.seed)
