"""Anybody's network as what is attacked or studied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rnabench.defence.fingerprint import logits_sha256, source_sha256, weights_sha256
from rnabench.defence.foreign import Classifier, ForeignModel, as_classifier
from rnabench.defence.importing import home_of, import_model
from rnabench.errors import InvalidValue
from rnabench.jobs.target import Target, attacked_data, open_data
from rnabench.model.classifier import RandomizedClassifier, in_mode
from rnabench.model.runs import read_run
from rnabench.runtime.device import check_precision, find_device, number_formats
from rnabench.settings.base import Precision, from_options
from rnabench.settings.datasets import DataSettings
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.imported import TYPED, Imported, Words
from rnabench.settings.studies import Probing, Study

SEEN = 32  # images that a network is looked at with: some networks draw for some images only


@dataclass(frozen=True)
class Adopted:
    """A network as it was imported, as what is attacked, and what was seen of it."""

    network: nn.Module
    classifier: Classifier
    seen: ForeignModel


def adopt(imported: Imported, images: torch.Tensor, classes: int, precision: Precision, words: Words = TYPED
          ) -> Adopted:
    """Import a network and look at it with `images` [N, 3, H, W], on their device. Raises InvalidValue, ModelError,
    NumericalError."""
    check_precision(precision, images.device)
    network = import_model(imported, words).to(images.device)
    with number_formats(precision, images.device), in_mode(network, training=False):
        classifier, seen = as_classifier(network, images, classes, bf16=precision == "bf16")
    return Adopted(network, classifier, seen)


def load_foreign(imported: Imported | str, keys: DataSettings, evaluation: EvaluationSettings, device_name: str,
                 label: str | None = None, words: Words = TYPED) -> Target:
    """Anybody's network on a data set, labelled as it was named if nothing else is said; a change of its code makes it
    another one. Raises as `adopt` does, InvalidValue for draws per sample that it does not have, and the errors of the
    data set."""
    imported = Imported.of(imported) if isinstance(imported, str) else imported
    device = find_device(device_name)
    data = open_data(keys, evaluation, device)
    first = next(data.source.in_order(min(SEEN, evaluation.batch_size)))
    found = adopt(imported, first.images, len(data.classes), evaluation.precision, words)
    space = found.classifier.space
    if not space.takes_rows and evaluation.granularity == "sample":
        raise InvalidValue("--granularity", "sample", "'batch' for a --model that draws its random numbers itself")
    with number_formats(evaluation.precision, device), in_mode(found.network, training=False):
        logits = logits_sha256(found.seen, next(data.source.in_order(evaluation.batch_size)))
    code = {"logits_sha256": logits, "source_sha256": source_sha256(found.network, home_of(imported.reference))}
    return Target(found.classifier, found.classifier, data, {
        "label": label or imported.reference, "method": label, "digest": None,
        "weights_sha256": weights_sha256(found.network), "code": code, **_described(imported, found)}, device)


def _described(imported: Imported, found: Adopted) -> dict[str, Any]:
    """What a record says of it beside its hashes."""
    given = {"args": imported.args} if imported.args else {}
    file = {"weights": imported.weights.name} if imported.weights else {}
    paths = {"paths": str(found.classifier.space.count)} if isinstance(found.classifier, RandomizedClassifier) else {}
    return {"imported": {"import": imported.reference, **given, **file}, **paths,
            "randomised": found.classifier.space.is_random, "random_sources": list(found.seen.sources),
            "batch_dependent": found.seen.batch_dependent, "replayable": found.seen.replayable,
            "differentiable": found.seen.differentiable}


def foreign_for_study(imported: Imported, keys: DataSettings, study: Study, device_name: str, label: str | None = None,
                      words: Words = TYPED) -> Target:
    """The same for a study, which asks about images with draws of their own. Raises as `check_imported` too."""
    check_imported(study, imported.reference, words)
    target = load_foreign(imported, keys, study.evaluation(), device_name, label, words)
    if isinstance(target.module, ForeignModel):
        target.module.split_by_draw()
    return target


def check_imported(study: Study, name: str, words: Words = TYPED) -> None:
    """Raises InvalidValue for a study that trains classifiers on networks, and so needs ours."""
    if isinstance(study, Probing):
        raise InvalidValue(words.reference, name, f"trained networks only: {study.name} takes their last layer off and "
                           "trains another one")


def imports_beside(runs: Sequence[Path], references: Sequence[str], arguments: Sequence[str], weights: Path | None,
                   changes: Mapping[str, Any]) -> tuple[list[Imported], DataSettings]:
    """The networks that a command line names beside `runs`, and their data set: the one that `changes` (keys of
    DataSettings) name, or that of the first run. Raises InvalidValue for arguments or weights that could be meant for
    several networks, or for none."""
    for name, given in ((TYPED.arguments, list(arguments)), (TYPED.weights, weights and str(weights))):
        if given and len(references) != 1:
            raise InvalidValue(name, given, "a single --model with it (a function without arguments may call another)"
                               if references else "--model with it")
    imported = [Imported.of(reference, arguments, weights) for reference in references]
    if runs and references:
        return imported, attacked_data(read_run(runs[0])["recipe"], changes)
    return imported, from_options(DataSettings, changes)


def said_of(description: Mapping[str, Any]) -> list[str]:
    """Where a foreign network's random numbers come from, in words; nothing of a trained one or without any."""
    sources = description.get("random_sources")
    if not sources:
        return []
    if not description["replayable"]:
        return [f"warning: this model draws from {sources[0]}: its draws cannot be frozen or replayed, and another run "
                "gives other numbers"]
    return [f"randomness: {', '.join(sources)}, seeded for every draw"]
