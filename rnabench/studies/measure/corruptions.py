"""Who is right on corrupted images: all networks on the same ones, which are made batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rnabench.data.batches import Batch
from rnabench.data.corrupt import corrupt
from rnabench.evaluation.batch import Evaluator
from rnabench.scoring.corruption import Estimate, gain, mean_error, relative_error, relative_gain
from rnabench.scoring.interval import Bits, Groups, accuracy_interval
from rnabench.scoring.outcome import bits, fewest_groups
from rnabench.settings.corruptions import Corrupted
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.studies import Results
from rnabench.studies.measure.subject import Networks
from rnabench.studies.measure.work import Arrays, Work


@dataclass
class Answers:
    """Who is right, bool [N images, D draws]: on `clean` images, and `corrupted` ones. `groups` [N]: which images share
    draws of paths."""

    label: str
    clean: Bits
    groups: Groups | None
    corrupted: dict[Corrupted, Bits] = field(default_factory=dict)

    def errors(self, names: Sequence[str]) -> NDArray[np.float64]:
        """[corruptions, N, D]: the share of severities at which an image is wrong."""
        return np.stack([np.mean([~right for each, right in self.corrupted.items() if each.name == name], axis=0)
                         for name in names])


def answers(networks: Networks, asked: Sequence[Corrupted], keys: EvaluationSettings, classes: int, work: Work
            ) -> list[Answers]:
    """Of every network, on clean images and under all corruptions that are asked for."""
    evaluators = {label: Evaluator(model, keys, classes) for label, model in networks}

    def right(corrupted: Corrupted | None) -> Arrays:
        def on_batch(batch: Batch, first: int) -> Arrays:
            images = batch.images if corrupted is None else corrupt(batch.images, batch.indices, corrupted, keys.seed)
            found = {}
            for label, evaluator in evaluators.items():
                groups = evaluator.attacker.groups(first, len(batch.indices))
                predicted = evaluator.predictions(images, None, batch, groups)
                found[label] = (predicted == batch.labels).T.cpu().numpy()
            return found
        return work(str(corrupted or "clean images"), on_batch)

    clean, images = right(None), len(work.source)
    found = [Answers(label, clean[label], evaluator.attacker.groups(0, images) if evaluator.random else None)
             for label, evaluator in evaluators.items()]
    for corrupted in asked:
        rights = right(corrupted)
        for each in found:
            each.corrupted[corrupted] = rights[each.label]
    return found


def scored(network: Answers, reference: Answers | None, baseline: Answers | None) -> Results:
    """A network's part of the record; `reference`: the network that it is compared with, `baseline`: the one whose
    errors divide its own."""
    names = list(dict.fromkeys(each.name for each in network.corrupted))
    severities = list(dict.fromkeys(each.severity for each in network.corrupted))
    errors = network.errors(names)

    def relative(chosen: Sequence[str]) -> Estimate | None:
        if baseline is None or baseline is network:  # by definition
            return None if baseline is None else (1.0, 1.0, 1.0)
        return relative_error(network.errors(chosen), baseline.errors(chosen),
                              fewest_groups([network.groups, baseline.groups]))

    def of_severity(severity: int) -> Estimate:
        wrong = [~right for each, right in network.corrupted.items() if each.severity == severity]
        return mean_error(np.mean(wrong, axis=0), network.groups)

    found: Results = {
        "label": network.label, "clean": _cell(network.clean, network.groups),
        "error": mean_error(errors.mean(0), network.groups), "relative": relative(names),
        "by_severity": [{"severity": severity, "error": of_severity(severity)} for severity in severities],
        "corruptions": [
            {"name": name, "error": mean_error(errors[place], network.groups), "relative": relative([name]),
             "severities": [{"severity": severity} | _cell(network.corrupted[Corrupted(name, severity)], network.groups)
                            for severity in severities]} for place, name in enumerate(names)],
        "gain": None, "relative_gain": None}
    if reference is not None and reference is not network:
        theirs = reference.errors(names).mean(0)
        groups = fewest_groups([network.groups, reference.groups])
        found |= {"gain": gain(errors.mean(0), theirs, groups),
                  "relative_gain": relative_gain(errors.mean(0), theirs, groups)}
    return found


def _cell(right: Bits, groups: Groups | None) -> Results:
    return {"accuracy": float(right.mean()), "interval95": list(accuracy_interval(right, groups)),
            "correct": [bits(draw) for draw in right.T]}
