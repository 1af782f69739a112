"""`rnabench dense`: Dense Adversary Generation on networks over a folder of images, each network shown all changes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from rnabench.dense.dag import dense_adversary, perceptibility, permuted, wrong_class_of
from rnabench.dense.folder import DenseFolder, Example
from rnabench.dense.network import DenseNetwork, Seen
from rnabench.dense.weights import kind_of, load_network
from rnabench.errors import InvalidValue, one_of
from rnabench.evaluation.resuming import one_batch
from rnabench.report.dense import DENSE_FORMAT, NOTHING, read_dense, write_dense_record
from rnabench.runtime.device import find_device, number_formats
from rnabench.runtime.environment import device_description, git_revision, now, versions
from rnabench.runtime.files import sha256
from rnabench.runtime.journal import Journal
from rnabench.runtime.locks import check_locks, claimed
from rnabench.runtime.progress import Progress, about
from rnabench.runtime.stopping import StopRequest
from rnabench.settings.algorithms import STREAMS
from rnabench.settings.base import digest
from rnabench.settings.dense import DenseSettings

VERSION = 1  # raised when numbers change by what is done here or in rnabench.dense
IMAGES = ("images",)


@dataclass(frozen=True)
class Dense:
    """What one call works on: networks by label, what a record says of each, and the images."""

    networks: dict[str, DenseNetwork]
    described: list[dict[str, Any]]
    folder: DenseFolder
    settings: DenseSettings
    device: torch.device

    @property
    def sources(self) -> list[str]:
        return list(self.settings.sources or self.networks)

    @property
    def identity(self) -> str:
        """The digest of everything that decides the numbers."""
        return digest({"settings": self.settings.model_dump(mode="json"), "networks": self.described,
                       "data": self.folder.fingerprint, "algorithms": algorithms()})


def algorithms() -> dict[str, int]:
    return {"streams": STREAMS, "dense": VERSION}


def load_dense(given: Sequence[str], data_dir: Path, settings: DenseSettings, device_name: str) -> Dense:
    """Networks, each `NAME=FILE`, and the folder, all of it checked. Raises InvalidValue, CheckpointError,
    DataUnavailable, and RnabenchError where a library is missing."""
    device, named = find_device(device_name), [_name_and_file(each) for each in given]
    for name, _ in named:
        kind_of(name)
    labels = [name if [other for other, _ in named].count(name) == 1 else f"{name}:{file.stem}"
              for name, file in named]
    for label in labels:
        if labels.count(label) > 1:
            raise InvalidValue("networks", label, "every network once, with a file of its own name")
    for label in settings.sources or ():
        if label not in labels:
            raise InvalidValue("--sources", label, one_of(labels), labels)
    networks = {label: load_network(name, file, settings.classes, device)
                for label, (name, file) in zip(labels, named, strict=True)}
    described = [{"label": label, "name": name, "file": file.name, "sha256": sha256(file),
                  "parameters": sum(parameter.numel() for parameter in networks[label].network.parameters())}
                 for label, (name, file) in zip(labels, named, strict=True)]
    needed = {network.needs for network in networks.values()}
    folder = DenseFolder(data_dir, needed, settings.classes, settings.n_examples)
    return Dense(networks, described, folder, settings, device)


def _name_and_file(given: str) -> tuple[str, Path]:
    name, separator, file = given.partition("=")
    if not separator or not file:
        raise InvalidValue("networks", given, "NAME=FILE, such as fcn_resnet50=weights.safetensors")
    return name, Path(file)


def run_dense(work: Dense, file: Path, progress: Progress, stop: StopRequest, resume: bool = True) -> dict[str, Any]:
    """Attack, write the record to `file` and return it; one of the same call is not made again.

    Finished images are kept beside the record until it is written; without `resume` neither they nor a record count.
    Raises Stopped; Busy if another process does it; RnabenchError for a file that is no record.
    """
    if resume and file.exists() and (record := read_dense(file))["digest"] == work.identity:
        return record
    check_locks(file.parent, progress)
    with claimed(file, file.name):
        journal = Journal(file.with_suffix(".progress"), work.identity, str(work.device), tell=progress.line)
        if not resume:
            journal.remove()
        started = time.perf_counter()
        with number_formats("fp32", work.device):
            done = _all_images(work, journal, progress, stop)
            device = device_description(str(work.device))
        record = {
            "dense": DENSE_FORMAT, "digest": work.identity, "algorithms": algorithms(), "made": now(),
            "made_by": journal.makers(), "networks": work.described,
            "data": {"name": work.folder.folder.name, "fingerprint": work.folder.fingerprint,
                     "images": len(work.folder)},
            "settings": work.settings.model_dump(mode="json"),
            "versions": versions() | {name: metadata.version(name) for network in work.networks.values()
                                      for name in network.libraries},
            "git": git_revision(), "device": device, "seconds_of_last_call": round(time.perf_counter() - started, 1),
            "cells": list(_cells(work, done)),
            "attacks": {label: {part: [image["attacks"][label][part] for image in done] for part in (
                "targets", "active", "linf", "perceptibility")} for label in work.sources},
        }
        write_dense_record(record, file)
        journal.remove()
    return record


def _all_images(work: Dense, journal: Journal, progress: Progress, stop: StopRequest) -> list[dict[str, Any]]:
    before, count = len(journal.batches(IMAGES)), len(work.folder)
    progress.begin("DAG", count, before)
    for index in range(before, count):
        where = f"{index} of {count} images are done"
        if stop:
            raise stop.stopped(where)
        started = time.perf_counter()
        with one_batch(journal, IMAGES, index, stop, where) as unfinished:
            found = _one_image(work, work.folder.example(index, work.device))
        journal.append(IMAGES, found)
        unfinished.done()
        progress.advance(1)
        if index == before:
            progress.line(f"takes {about((time.perf_counter() - started) * (count - index))}, as the first image did")
    return journal.batches(IMAGES)


def _one_image(work: Dense, example: Example) -> dict[str, Any]:
    """What the attacks did, and what every network sees in the image, changed, and changed by permuted changes."""
    settings, attacks, changes = work.settings, {}, dict[str, Tensor]()
    wrong = wrong_class_of(settings.classes, settings.seed, example.index).to(work.device)
    for label in work.sources:
        network = work.networks[label]
        targets = network.targets(example)
        found = dense_adversary(targets, example.image, wrong[targets.labels], settings.gamma,
                                settings.steps or network.steps)
        changes[label] = found.change
        attacks[label] = {"targets": len(targets.labels), "active": found.active,
                          "linf": float(found.change.abs().max()), "perceptibility": perceptibility(found.change)}
    if len(changes) > 1:  # heterogeneous transfer
        changes[" + ".join(changes)] = torch.stack(list(changes.values())).sum(0)
    shown = {NOTHING: [example.image]} | {label: [(example.image + each).clamp(0, 1) for each in (change, *permuted(
        change, settings.seed, example.index, settings.permuted))] for label, change in changes.items()}
    return {"attacks": attacks, "seen": {name: {label: [network.seen(image, example) for image in images]
                                                for label, images in shown.items()}
                                         for name, network in work.networks.items()}}


def _cells(work: Dense, done: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    made = []
    for label in done[0]["seen"][next(iter(work.networks))]:
        for name, network in work.networks.items():
            by_version: list[list[Seen]] = list(map(list, zip(*(image["seen"][name][label] for image in done),
                                                              strict=True)))
            score, *control = [network.score(seen, work.settings.seed) for seen in by_version]
            made.append({"source": label, "network": name, "measure": network.measure, "value": score.value,
                         "low95": score.low95, "high95": score.high95,
                         "permuted": fmean(each.value for each in control) if control else None})
    return made
