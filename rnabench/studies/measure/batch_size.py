"""Accuracy by evaluation batch size (RobustNorm paper, Figure 7): batches of so many images, attacked and scored whole,
with running statistics or with those of the batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rnabench.attack.resumable import Kept, resumable
from rnabench.data.batches import Batch
from rnabench.defence.foreign import Classifier
from rnabench.errors import InvalidValue, ModelError, NumericalError
from rnabench.evaluation.attacker import check_plan
from rnabench.evaluation.batch import Evaluator
from rnabench.norm.layers import norm_layers, statistics_from
from rnabench.scoring.interval import FEW_GROUPS, Bits, Groups, accuracy_interval, difference_interval
from rnabench.scoring.outcome import bits, path_groups
from rnabench.settings.attacks import AttackSpec
from rnabench.settings.deployment import StatisticsFrom
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.protocols import parse_protocol
from rnabench.settings.studies import Results
from rnabench.studies.measure.work import Arrays, OnBatch, Work


def statistics_of(network: nn.Module, asked: tuple[StatisticsFrom, ...]) -> tuple[StatisticsFrom, ...]:
    """Those of the `asked` ones that a network has: `own` alone, if it keeps no running statistics."""
    return asked if any(norm.active.tracked for norm in norm_layers(network).values()) else ("own",)


@dataclass(frozen=True)
class Sized:
    """Who is right in batches of `size` images, bool [N, D] each: `clean`, and `attacked` in those batches. `groups`
    [N]: which images share draws of paths, or a batch."""

    size: int
    clean: Bits
    attacked: Bits
    groups: Groups | None

    def compared(self, largest: Sized) -> Results:
        """Accuracies, and how much higher they are than in batches of the largest size: `change`."""
        found: Results = {"size": self.size, "reason": None}
        # images that share a large batch have shared, or are in, the small ones
        groups = self.groups if largest.groups is None else largest.groups
        for kind, ours, theirs in (("clean", self.clean, largest.clean), ("attacked", self.attacked, largest.attacked)):
            change = None if self is largest else difference_interval(ours, theirs, groups)
            found[kind] = {"accuracy": float(ours.mean()), "interval95": list(accuracy_interval(ours, self.groups)),
                           "change": change, "correct": [bits(draw) for draw in ours.T]}
        return found


def by_batch_size(label: str, model: Classifier, statistics: StatisticsFrom, attacked: StatisticsFrom,
                  sizes: tuple[int, ...], spec: AttackSpec, keys: EvaluationSettings, classes: int, work: Work
                  ) -> list[Results]:
    """A point for each size, on the same images, attacked through `attacked` statistics and scored with `statistics`; a
    size at which the network cannot run has a `reason` and no numbers."""
    check_plan(keys, [(spec, 0)], False, classes)
    with statistics_from(model, statistics):
        dependent = model.batch_dependent
    measured: dict[int, Sized] = {}
    reasons: dict[int, str] = {}
    for size in sizes:
        reason = _reason(model, {statistics, attacked}, size, work)
        if reason is not None:
            reasons[size] = reason
            continue
        found = work(f"{spec.name} on {label}, {statistics} statistics, batches of {size}",
                     _in_batches(model, statistics, attacked, size, spec, keys, classes), together=size)
        groups = _groups(len(work.source), size, keys.attack_paths if model.space.is_random else None, dependent)
        measured[size] = Sized(size, found["clean"], found["attacked"], groups)
    largest = measured[max(measured)] if measured else None
    return [{"size": size, "reason": reasons[size]} if largest is None or size in reasons
            else measured[size].compared(largest) for size in sizes]


def _in_batches(model: Classifier, statistics: StatisticsFrom, attacked: StatisticsFrom, size: int,
                spec: AttackSpec, keys: EvaluationSettings, classes: int) -> OnBatch:
    evaluator, protocol = Evaluator(model, keys, classes), parse_protocol("paper")

    def on_batch(batch: Batch, first: int) -> Arrays:
        seen = Kept(clean=[], attacked=[])
        for low in resumable(range(0, len(batch.indices), size), seen):
            part = batch.part(low, low + size)
            groups = path_groups(first + low, len(part.indices), keys.attack_paths)
            with statistics_from(model, attacked):
                images, _ = evaluator.attacker(spec, protocol, part, groups)
            with statistics_from(model, statistics):
                for right, shown in ((seen.clean, part.images), (seen.attacked, images)):
                    right.append(evaluator.predictions(shown, None, part, groups) == part.labels)
        return {name: torch.cat(right, 1).T.cpu().numpy() for name, right in vars(seen).items()}
    return on_batch


def _reason(model: Classifier, statistics: set[StatisticsFrom], size: int, work: Work) -> str | None:
    """Why the network cannot run on batches of that size, or on the smaller one that remains at the end; None if it
    can."""
    path = model.space.sample(torch.Generator())
    images = next(work.source.in_order(size)).images
    try:
        for name in sorted(statistics):
            for count in sorted({len(images), len(work.source) % size or len(images)}):
                with statistics_from(model, name), torch.no_grad():
                    model.on(path)(images[:count])
    except (InvalidValue, ModelError, NumericalError) as error:
        return str(error)
    return None


def _groups(images: int, size: int, attack_paths: int | None, dependent: bool) -> Groups | None:
    """Which images share a draw of a path; where nothing is drawn, but statistics are of batches, which are in one
    batch, if there are enough batches to tell how they differ."""
    if attack_paths is not None:
        return path_groups(0, images, attack_paths)
    batches = -(-images // size)
    return np.arange(images, dtype=np.int64) // size if dependent and batches >= FEW_GROUPS else None
