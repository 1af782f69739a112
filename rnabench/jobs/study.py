"""One study of several networks, from run folders and settings to a record."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rnabench.data.sources import EvaluationData, probe_data
from rnabench.defence.fingerprint import foreign_code
from rnabench.defence.foreign import Classifier, ForeignModel, one_line
from rnabench.errors import InvalidValue, ModelError
from rnabench.jobs.durations import network_speed, study_passes
from rnabench.jobs.target import Target, attacked_data, load_run
from rnabench.model.runs import read_run
from rnabench.report.record_file import read_study, write_study_record
from rnabench.report.study_record import STUDY_FORMAT
from rnabench.report.whole import check_study
from rnabench.runtime.device import memory_ran_out, number_formats
from rnabench.runtime.environment import device_description, git_revision, now, versions
from rnabench.runtime.journal import Journal
from rnabench.runtime.locks import check_locks, claimed
from rnabench.runtime.plain import plain
from rnabench.runtime.progress import Progress, about
from rnabench.runtime.stopping import StopRequest
from rnabench.settings.algorithms import study_versions
from rnabench.settings.architectures import ARCHITECTURES
from rnabench.settings.attacks import resolved
from rnabench.settings.base import digest
from rnabench.settings.datasets import DataSettings
from rnabench.settings.deployment import AS_TRAINED, Deployment, with_use
from rnabench.settings.studies import Attacking, Probing, Study
from rnabench.studies.measure.subject import at_rest
from rnabench.studies.measure.work import Work


def load_for_study(folder: Path, changes: Mapping[str, Any], study: Study, device_name: str, label: str | None = None,
                   method: str | None = None, deployment: Deployment = AS_TRAINED) -> Target:
    """As `load_run`; for a study that trains classifiers with the training images of the data set, which may tell other
    classes apart than the network does. Such a study says itself how the network is used."""
    if not isinstance(study, Probing):
        return load_run(folder, changes, study.evaluation(), device_name, label, method, deployment=deployment)
    for key, value in deployment.changes().items():
        raise InvalidValue(key, value, f"none: {study.name} says itself how networks are used")
    if changes.get("data_dir") is not None:
        changes = {"dataset_name": None} | dict(changes)  # another folder does not take over the name of the run's own
    target = load_run(folder, changes, study.evaluation(), device_name, label, method, same_classes=False)
    keys = attacked_data(read_run(folder)["recipe"], changes)
    return replace(target, data=with_training(study, keys, target.data, target.device))


def with_training(study: Probing, keys: DataSettings, data: EvaluationData, device: torch.device) -> EvaluationData:
    """The same with the training images. Raises as `probe_data` does."""
    return replace(data, training=probe_data(keys, data, study.n_train, study.seed, device, study.augment))


def short_labels(targets: Sequence[Target]) -> list[Target]:
    """The networks labelled by their space and how they are used, as far as that tells them apart; else with training
    and run folder's name."""
    trained = [target for target in targets if "space" in target.description]

    def label(target: Target) -> str:
        if "space" not in target.description:
            return str(target.description["label"])
        space, objective = target.description["space"], target.description["objective"]
        alike = [other for other in trained if (other.description["space"], other.deployed) == (space, target.deployed)]
        if len(alike) == 1:
            return with_use(space, target.deployed)
        if [other.description["objective"] for other in alike].count(objective) == 1:
            return with_use(f"{space} {objective}", target.deployed)
        return str(target.description["label"])
    return [replace(target, description=target.description | {"label": label(target)}) for target in targets]


def study_identity(targets: Sequence[Target], study: Study) -> str:
    """The digest of everything that decides the results (settings, and versions of algorithms), and of the labels that
    they carry."""
    return digest({"settings": settings_identity(targets, study), "algorithms": algorithms_of(study)})


def algorithms_of(study: Study) -> dict[str, int]:
    """The versions of all algorithms that a study rests on today."""
    return study_versions(study.name, *(spec.kind for spec in study.specs) if isinstance(study, Attacking) else ())


def settings_identity(targets: Sequence[Target], study: Study) -> str:
    """The same without the versions."""
    mates = [bool(target.description.get("batch_dependent")) for target in targets]
    return digest({
        "format": 2,  # as ever: another layout of the file is no other study
        "study": study.name, "keys": study.model_dump(mode="json"),
        "models": [[target.description["label"], target.description["weights_sha256"]] for target in targets],
        "data": targets[0].data.fingerprint,
    } | ({"training": training.fingerprint} if (training := targets[0].data.training) else {})
        | ({"batch_dependent": mates} if any(mates) else {})
        | ({"deployed": deployed} if any(deployed := [target.deployed for target in targets]) else {})
        | ({"code": code} if any(code := [foreign_code(target.description) for target in targets]) else {}))


def run_study(targets: Sequence[Target], study: Study, file: Path, progress: Progress, stop: StopRequest,
              resume: bool = True) -> dict[str, Any]:
    """Do the study, write its record to `file` and return it; a record of the same study is not made again.

    Finished batches are kept beside the record until it is written; without `resume` neither they nor a record count.
    Raises InvalidValue unless all networks look at the same images and have labels of their own; Stopped; Busy if
    another process does it.
    """
    _check(targets, study)
    name = study_identity(targets, study)
    if resume and (there := finished_study(targets, study, file)) is not None:
        if there != read_study(file):  # the same weights as other algorithms made them
            write_study_record(there, file)
        return there
    check_locks(file.parent, progress)
    with claimed(file, file.name):
        if resume and (there := finished_study(targets, study, file)) is not None:
            return there
        return _run(targets, study, name, file, progress, stop, resume)


def finished_study(targets: Sequence[Target], study: Study, file: Path) -> dict[str, Any] | None:
    """The record of just this study, if `file` is it. Raises RnabenchError for a file that is no record."""
    if not file.exists() or (there := read_study(file))["digest"] != study_identity(targets, study):
        return None
    check_study(there, file)
    return there | {"models": _as_json([target.description for target in targets])}


def stale_study(targets: Sequence[Target], study: Study, file: Path) -> dict[str, Any] | None:
    """The record of this study as other versions of the algorithms made it, if `file` is that."""
    if not file.exists() or (there := read_study(file))["digest"] == study_identity(targets, study):
        return None
    if "settings_digest" in there:
        return there if there["settings_digest"] == settings_identity(targets, study) else None
    asked = study.model_dump(mode="json") | {"step_size": study.evaluation().step}  # an older format: by what it says
    networks = [(model["label"], model["weights_sha256"]) for model in there["models"]]
    same = networks == [(target.description["label"], target.description["weights_sha256"]) for target in targets
                        if not target.deployed]  # which no older format had
    return there if same and there["study"] == study.name and there["keys"].items() <= asked.items() and (
        there["data"]["fingerprint"] == targets[0].data.fingerprint) else None


def _run(targets: Sequence[Target], study: Study, name: str, file: Path, progress: Progress, stop: StopRequest,
         resume: bool) -> dict[str, Any]:
    first, journal = targets[0], Journal(file.with_suffix(".progress"), name, str(targets[0].device),
                                        tell=progress.line)
    if not resume:
        journal.remove()
    networks = []
    for target in targets:
        assert isinstance(target.module, Classifier)
        networks.append((target.description["label"], target.module))
    work = Work(first.data.source, study.batch_size, journal, progress, stop,
                lambda: progress.line(f"takes {_duration(networks, study, first)} at most"), first.data.training,
                whole=any(model.batch_dependent for _, model in networks))
    step = study.evaluation().step
    attacked = [{"name": spec.name, **resolved(spec, study.eps, step)}
                for spec in study.specs] if isinstance(study, Attacking) else []
    if first.data.training is not None:
        for line in _other_sizes(targets):
            progress.line(line)
    started = time.perf_counter()
    with number_formats(study.precision, first.device), at_rest([model for _, model in networks]):
        try:
            results = study.compute(networks, len(first.data.classes), work)
        except RuntimeError as error:
            foreign = [label for label, model in networks if isinstance(model, ForeignModel)]
            if not foreign or memory_ran_out(error):
                raise  # of our own networks it is our fault
            raise ModelError(f"{study.name}: failed with {one_line(error)}; expected networks that can be asked so; "
                             f"not written here: {', '.join(foreign)}") from error
        device = device_description(str(first.device), study.precision)
    record: dict[str, Any] = _as_json({
        "format": STUDY_FORMAT, "study": study.name, "digest": name,
        "settings_digest": settings_identity(targets, study),
        "algorithms": algorithms_of(study), "made": now(), "made_by": journal.makers(),
        "models": [target.description for target in targets],
        "data": {"name": first.data.name, "fingerprint": first.data.fingerprint, "classes": list(first.data.classes),
                 "indices": first.data.source.indices},
        "keys": study.model_dump(mode="json") | {"step_size": step},
        "attack": attacked[0] if len(attacked) == 1 else None,
        **({"attacks": attacked} if len(attacked) > 1 else {}),
        "versions": versions(), "git": git_revision(), "device": device,
        "seconds_of_last_call": round(time.perf_counter() - started, 1),
        "results": plain(results),
    })
    write_study_record(record, file)
    journal.remove()
    return record


def _other_sizes(targets: Sequence[Target]) -> list[str]:
    """A line about each architecture that is meant for images of another size than these."""
    side = next(targets[0].data.source.in_order(1)).images.shape[-1]
    meant = {arch: ARCHITECTURES[arch].image_size for target in targets
             if (arch := str(target.description.get("arch"))) in ARCHITECTURES}
    return [f"{arch} is meant for images of {size} pixels; these have {side}" for arch, size in meant.items()
            if size != side]


def _duration(networks: Sequence[tuple[str, Classifier]], study: Study, first: Target) -> str:
    """About how long it takes, from nothing."""
    seconds = now = 0.0
    source, classes = first.data.source, len(first.data.classes)
    side = next(source.in_order(1)).images.shape[-1]
    for _, model in networks:
        gradients, forwards = study_passes(study, model, len(networks), classes, len(source),
                                           len(first.data.training.plain) if first.data.training else 0)
        timed = network_speed(model, side, study.evaluation(), classes, (gradients + forwards) * len(networks))
        one = gradients * timed.gradient + forwards * timed.forward
        seconds, now = seconds + one, now + one * timed.load
    return about(seconds, now / max(seconds, 1e-9))


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _check(targets: Sequence[Target], study: Study) -> None:
    first = targets[0]
    labels = [target.description["label"] for target in targets]
    for target in targets:
        if target.data.fingerprint != first.data.fingerprint:
            raise InvalidValue("RUN", target.description["label"], f"runs on the same images as {labels[0]}; "
                               "--dataset and --data-dir say which")
        study.check_network(target.description["label"], target.module)
        if labels.count(target.description["label"]) > 1:
            raise InvalidValue("RUN", target.description["label"], "every network once")
