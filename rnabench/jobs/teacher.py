"""A teacher: the trained network of another run, whose predicted probabilities a training may learn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rnabench.data.sources import TrainingData
from rnabench.errors import CheckpointError, InvalidSettings, InvalidValue
from rnabench.jobs.durations import network_like
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.runs import WEIGHTS, read_run
from rnabench.model.saved import load_model
from rnabench.runtime.files import sha256
from rnabench.settings.base import from_options
from rnabench.settings.training import TrainingSettings

SPLIT = ("n_train", "n_holdout", "seed")  # what decides, of a data set, which images are trained on


@dataclass(frozen=True)
class Teacher:
    """A network in evaluation mode, without gradients; `description` is what the student's run.json says of it."""

    network: RandomizedClassifier
    description: dict[str, Any]


def with_teacher(student: TrainingSettings, folder: Path) -> TrainingSettings:
    """The settings of a training that learns from the network of a run folder.

    Raises CheckpointError for a folder that does not say how its network was trained, and InvalidSettings.
    """
    run = read_run(folder)
    if run.get("status") != "finished":
        raise CheckpointError(f"--teacher: {str(folder)!r} is {run.get('status', 'of no known status')}; expected a "
                              "finished run of `rnabench train`")
    try:
        teacher = from_options(TrainingSettings, run["recipe"])
    except InvalidSettings:
        teacher = None
    if teacher is None or teacher.digest() != run.get("digest"):
        raise CheckpointError(f"--teacher: {str(folder)!r} is of another version of rnabench, which described its "
                              "training otherwise; expected a run of this version")
    return from_options(TrainingSettings, dict(student) | {"teacher": teacher})


def check_teacher(teacher: TrainingSettings) -> None:
    """Raises InvalidValue for a network that predicts at random; nothing is trained or loaded to know it."""
    meta = torch.device("meta")
    with meta:
        network = network_like(teacher, 10, meta, teacher.precision)
    if network.space.is_random:
        raise InvalidValue("--teacher", str(teacher), "a network of one path, not a randomised one")


def load_teacher(student: TrainingSettings, folder: Path, data: TrainingData, device: torch.device) -> Teacher | None:
    """The teacher of a student that is trained on `data`, from its run folder; None if it has none.

    Raises CheckpointError if the folder holds another network, InvalidValue for a teacher of other classes or images or
    a randomised one, and as `load_model` does.
    """
    if student.teacher is None:
        return None
    check_teacher(student.teacher)
    run = read_run(folder)
    if run.get("digest") != student.teacher.digest() or run.get("status") != "finished":
        raise CheckpointError(f"--teacher: {str(folder)!r} holds no finished run of {student.teacher}, digest "
                              f"{student.teacher.digest()}; expected the run of the teacher, to be named by --teacher")
    if run.get("rounded"):
        raise CheckpointError(f"--teacher: {str(folder)!r} holds rounded weights; expected those that were trained")
    same_split = all(getattr(student, name) == getattr(student.teacher, name) for name in SPLIT)
    if tuple(run["model"]["classes"]) != data.classes or (
            same_split and run["data"]["fingerprint"] != data.fingerprint):
        raise InvalidValue("--teacher", str(folder), f"a network for the classes and images of {student.title!r}: this "
                           "is a teacher of another data set")
    network = load_model(folder).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.requires_grad_(False)
    network.precision = student.precision
    return Teacher(network, {"run": folder.name, "digest": run["digest"], "algorithms": run.get("algorithms"),
                             "weights_sha256": sha256(folder / WEIGHTS)})
