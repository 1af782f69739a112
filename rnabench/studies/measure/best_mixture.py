"""Which of a network's paths are right on images that attacks on each of them, and on all together, have found."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnabench.data.batches import Batch
from rnabench.defence.defence import Defence, Draws, batch_dependent
from rnabench.evaluation.attacker import check_plan
from rnabench.evaluation.batch import Evaluator
from rnabench.evaluation.sizes import check_sizes
from rnabench.path.path import Path
from rnabench.seeding import ExampleStreams
from rnabench.settings.attacks import AttackSpec
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.protocols import Protocol, parse_protocol
from rnabench.studies.measure.subject import Subject
from rnabench.studies.measure.transfer import SAME_PATH
from rnabench.studies.measure.work import Arrays, OnBatch, Work


class _Uniform:
    """The draws of a defence that draws one of some (one-row) paths, each as often."""

    is_random = True

    def __init__(self, paths: Sequence[Path], takes_rows: bool) -> None:
        self.choices = torch.cat([path.choices for path in paths])
        self.takes_rows = takes_rows

    def sample(self, generator: torch.Generator, rows: int = 1) -> Path:
        return Path(self.choices[torch.randint(len(self.choices), (rows,), generator=generator)])

    def sample_each(self, streams: ExampleStreams, repeats: int = 1) -> Path:
        drawn = streams.below([len(self.choices)], repeats).flatten()
        return Path(self.choices.to(drawn.device)[drawn])


class UniformMixture:
    """A defence that draws one of these paths in every forward, each as often."""

    def __init__(self, defence: Defence, paths: Sequence[Path]) -> None:
        self.space: Draws = _Uniform(paths, defence.space.takes_rows)
        self.batch_dependent = batch_dependent(defence)
        self._defence = defence

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        return self._defence.on(path)


def right_by_path(subjects: Sequence[Subject], spec: AttackSpec, samples: int, keys: EvaluationSettings, classes: int,
                  work: Work) -> dict[str, NDArray[np.bool_]]:
    """By attack, who is right: [N, P] of N images and the P paths that the subjects, of one network, are held on.

    An attack is on one of the paths, by its subject's label, or, of several, on their uniform mixture (`eot:K` with K
    `samples`): a draw serves all images. Raises InvalidValue for an attack that the network cannot be attacked with.
    """
    check_plan(keys, [(spec, samples if len(subjects) > 1 else 0)], len(subjects) > 1, classes)
    check_sizes(subjects[0].defence, [spec], work.source, subjects[0].label)
    paths = [subject.path or subject.fixed() for subject in subjects]
    network = subjects[0].model
    attackers: dict[str, tuple[Defence, Protocol]] = {
        subject.label: (subject.defence, SAME_PATH) for subject in subjects}
    if len(subjects) > 1:
        attackers[f"eot:{samples}"] = UniformMixture(network, paths), parse_protocol(f"eot:{samples}")
    return {label: work(f"{spec.name} on {label}, {len(paths)} paths", _on_all_paths(
        Evaluator(defence, keys, classes), spec, protocol, paths))["right"]
        for label, (defence, protocol) in attackers.items()}


def _on_all_paths(evaluator: Evaluator, spec: AttackSpec, protocol: Protocol, paths: Sequence[Path]) -> OnBatch:
    def on_batch(batch: Batch, first: int) -> Arrays:
        groups = evaluator.attacker.groups(first, len(batch.indices))
        images, _ = evaluator.attacker(spec, protocol, batch, groups)
        right = [evaluator.predictions(images, path, batch, groups)[0] == batch.labels for path in paths]
        return {"right": torch.stack(right, 1).cpu().numpy()}
    return on_batch
