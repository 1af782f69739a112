"""One study of several networks, from run folders and keys to a record."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnabench.errors import InvalidValue
from rnabench.jobs.durations import network_speed, study_passes
from rnabench.jobs.evaluate import Target
from rnabench.model.classifier import RandomizedClassifier
from rnabench.report.study import FORMAT, read_study
from rnabench.runtime.device import number_formats
from rnabench.runtime.environment import device_description, git_revision, now, versions
from rnabench.runtime.files import write_text
from rnabench.runtime.journal import Journal
from rnabench.runtime.locks import check_locks, claimed
from rnabench.runtime.progress import Progress, about
from rnabench.runtime.stopping import StopRequest
from rnabench.settings.algorithms import study_versions
from rnabench.settings.attacks import resolved
from rnabench.settings.base import digest
from rnabench.settings.studies import Attacking, StudySettings
from rnabench.studies.studies import RUN
from rnabench.studies.subject import at_rest
from rnabench.studies.work import Work


def short_labels(targets: Sequence[Target]) -> list[Target]:
    """The networks labelled by their space, as far as that tells them apart; else with training and run folder's
    name."""
    def label(target: Target) -> str:
        space, objective = target.description["space"], target.description["objective"]
        alike = [other for other in targets if other.description["space"] == space]
        if len(alike) == 1:
            return str(space)
        if [other.description["objective"] for other in alike].count(objective) == 1:
            return f"{space} {objective}"
        return str(target.description["label"])
    return [replace(target, description=target.description | {"label": label(target)}) for target in targets]


def study_identity(targets: Sequence[Target], keys: StudySettings) -> str:
    """The digest of everything that decides the results (settings, and versions of algorithms), and of the labels that
    they carry."""
    return digest({"settings": settings_identity(targets, keys), "algorithms": algorithms_of(keys)})


def algorithms_of(keys: StudySettings) -> dict[str, int]:
    """The versions of all algorithms that a study rests on today."""
    return study_versions(keys.kind, keys.spec.kind if isinstance(keys, Attacking) else None)


def settings_identity(targets: Sequence[Target], keys: StudySettings) -> str:
    """The same without the versions."""
    return digest({
        "format": FORMAT, "study": keys.kind, "keys": keys.model_dump(mode="json"),
        "models": [[target.description["label"], target.description["weights_sha256"]] for target in targets],
        "data": targets[0].data.fingerprint,
    })


def run_study(targets: Sequence[Target], keys: StudySettings, file: Path, progress: Progress, stop: StopRequest,
              resume: bool = True) -> dict[str, Any]:
    """Do the study, write its record to `file` and return it; a record of the same study is not made again.

    Finished batches are kept beside the record until it is written; without `resume` neither they nor a record count.
    Raises InvalidValue unless all networks look at the same images and have labels of their own; Stopped; Busy if
    another process does it.
    """
    _check(targets)
    name = study_identity(targets, keys)
    if resume and (there := finished_study(targets, keys, file)) is not None:
        if there != read_study(file):  # the same weights as other algorithms made them
            _write(there, file)
        return there
    check_locks(file.parent, progress)
    with claimed(file, file.name):
        if resume and (there := finished_study(targets, keys, file)) is not None:
            return there
        return _run(targets, keys, name, file, progress, stop, resume)


def finished_study(targets: Sequence[Target], keys: StudySettings, file: Path) -> dict[str, Any] | None:
    """The record of just this study, if `file` is it. Raises RnabenchError for a file that is no record."""
    same = file.exists() and (there := read_study(file))["digest"] == study_identity(targets, keys)
    return there | {"models": _as_json([target.description for target in targets])} if same else None


def stale_study(targets: Sequence[Target], keys: StudySettings, file: Path) -> dict[str, Any] | None:
    """The record of this study as other versions of the algorithms made it, if `file` is that."""
    if not file.exists() or (there := read_study(file))["digest"] == study_identity(targets, keys):
        return None
    if "settings_digest" in there:
        return there if there["settings_digest"] == settings_identity(targets, keys) else None
    asked = keys.model_dump(mode="json") | {"step_size": keys.evaluation().step}  # an older format: by what it says
    networks = [(model["label"], model["weights_sha256"]) for model in there["models"]]
    same = networks == [(target.description["label"], target.description["weights_sha256"]) for target in targets]
    return there if same and there["study"] == keys.kind and there["keys"].items() <= asked.items() and (
        there["data"]["fingerprint"] == targets[0].data.fingerprint) else None


def _run(targets: Sequence[Target], keys: StudySettings, name: str, file: Path, progress: Progress, stop: StopRequest,
         resume: bool) -> dict[str, Any]:
    journal_file = file.with_suffix(".progress.jsonl")
    if not resume:
        journal_file.unlink(missing_ok=True)
    first, journal = targets[0], Journal(journal_file, name, str(targets[0].device))
    networks = []
    for target in targets:
        assert isinstance(target.module, RandomizedClassifier)
        networks.append((target.description["label"], target.module))
    timed = _Announced(progress, lambda: f"takes {_duration(networks, keys, first)} at most")
    work = Work(first.data.source, keys.batch_size, journal, timed, stop)
    step, attacked = keys.evaluation().step, None
    if isinstance(keys, Attacking):
        attacked = {"name": keys.spec.name, **resolved(keys.spec, keys.eps, step)}
    started = time.perf_counter()
    with number_formats(keys.precision, first.device), at_rest([model for _, model in networks]):
        results = RUN[keys.kind](networks, keys, len(first.data.classes), work)
        device = device_description(str(first.device), keys.precision)
    record = {
        "format": FORMAT, "study": keys.kind, "digest": name, "settings_digest": settings_identity(targets, keys),
        "algorithms": algorithms_of(keys), "made": now(), "made_by": journal.makers(),
        "models": [target.description for target in targets],
        "data": {"name": first.data.name, "fingerprint": first.data.fingerprint, "classes": list(first.data.classes),
                 "indices": first.data.source.indices},
        "keys": keys.model_dump(mode="json") | {"step_size": step}, "attack": attacked,
        "versions": versions(), "git": git_revision(), "device": device,
        "seconds_of_last_call": round(time.perf_counter() - started, 1),
        "results": _without_nan(results),
    }
    _write(record, file)
    journal.remove()
    return record


class _Announced:
    """A progress that says something before the first piece of work: by then the study has checked what it is given."""

    def __init__(self, progress: Progress, what: Callable[[], str]) -> None:
        self.progress, self.what, self.line = progress, what, progress.line
        self.advance, self._said = progress.advance, False

    def begin(self, title: str, total: int, done: int = 0) -> None:
        if not self._said:
            self._said = True
            self.progress.line(self.what())
        self.progress.begin(title, total, done)


def _duration(networks: Sequence[tuple[str, RandomizedClassifier]], keys: StudySettings, first: Target) -> str:
    """About how long it takes, from nothing."""
    seconds = now = 0.0
    source, classes = first.data.source, len(first.data.classes)
    side = next(source.in_order(1)).images.shape[-1]
    for _, model in networks:
        gradients, forwards = study_passes(keys, len(model.space.layers), len(networks), classes)
        work = len(source) * (gradients + forwards) * len(networks)
        timed = network_speed(model, side, keys.evaluation(), classes, work)
        one = len(source) * (gradients * timed.gradient + forwards * timed.forward)
        seconds, now = seconds + one, now + one * timed.load
    return about(seconds, now / max(seconds, 1e-9))


def _write(record: dict[str, Any], file: Path) -> None:
    write_text(file, json.dumps(record, separators=(",", ":")) + "\n")


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _without_nan(value: Any) -> Any:
    """JSON knows no NaN: what has no value is null."""
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _check(targets: Sequence[Target]) -> None:
    first = targets[0]
    labels = [target.description["label"] for target in targets]
    for target in targets:
        if target.data.fingerprint != first.data.fingerprint:
            raise InvalidValue("RUN", target.description["label"], f"runs on the same images as {labels[0]}; "
                               "--dataset and --data-dir say which")
        if labels.count(target.description["label"]) > 1:
            raise InvalidValue("RUN", target.description["label"], "every network once")
