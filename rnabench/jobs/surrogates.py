"""Networks that images are made on in the place of the one that is judged: a grey box, and a sanity check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from rnabench.defence.defence import Defence
from rnabench.errors import InvalidValue
from rnabench.evaluation.cells import Surrogate, cells, probes
from rnabench.evaluation.ensemble import FusedLogits
from rnabench.jobs.target import Target, check_classes
from rnabench.model.runs import WEIGHTS, read_run
from rnabench.model.saved import load_model
from rnabench.runtime.files import sha256
from rnabench.settings.evaluation import EvaluationSettings


def with_surrogate(target: Target, folders: Sequence[Path], evaluation: EvaluationSettings) -> Target:
    """The target, to be attacked also by images that are made on the networks of run folders; on several at once, as
    an ensemble that sums their logits.

    Raises InvalidValue for an evaluation without such an attack, CheckpointError for a network that knows other
    classes, and as `load_model` does.
    """
    if not any(cell.surrogate for cell in cells(evaluation, False, "any") + probes(evaluation, False, "any")):
        raise InvalidValue("--transfer-from", ", ".join(map(str, folders)), "an attack as in --attacks transfer-pgd20, "
                           "or --norm Linf, --backend native and --sanity with it (the sanity checks have one)")
    names, models = list[str](), list[Defence]()
    for folder in folders:
        check_classes(read_run(folder)["model"]["classes"], target.data, folder)
        model = load_model(folder).to(  # type: ignore[call-overload]
            device=target.device, memory_format=torch.channels_last).requires_grad_(False)
        model.precision = evaluation.precision
        names.append(f"{folder.resolve().name} (weights {sha256(folder / WEIGHTS)[:12]})")
        models.append(model)
    made_on = models[0] if len(models) == 1 else FusedLogits(models, [1.0] * len(models))
    return replace(target, surrogate=Surrogate(" + ".join(names), made_on))
