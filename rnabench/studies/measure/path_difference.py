"""Path difference (Figure 5 c): attack one path, predict with another that differs from it in exactly d layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnabench.data.batches import Batch
from rnabench.defence.foreign import Classifier
from rnabench.errors import InvalidValue
from rnabench.evaluation.attacker import check_plan
from rnabench.evaluation.batch import Evaluator
from rnabench.path.path import Path
from rnabench.scoring.interval import Bits, crossed_difference, crossed_interval
from rnabench.seeding import stream
from rnabench.settings.attacks import AttackSpec
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.studies import Results
from rnabench.studies.measure.subject import Held, Subject
from rnabench.studies.measure.transfer import SAME_PATH
from rnabench.studies.measure.work import Arrays, OnBatch, Work


@dataclass(frozen=True)
class DifferenceCurve:
    """`correct` bool [N, pairs, differences]: right on the second path after an attack on the first.

    `differences` are those that occur, `shares` how probable each is for two independent draws.
    """

    differences: tuple[int, ...]
    shares: tuple[float, ...]
    correct: Bits

    def accuracy(self, place: int) -> tuple[float, float, float]:
        """Mean over pairs and images at the difference number `place`, and its 95 % interval over both."""
        return _accuracy(self.correct[:, :, place])

    def gain(self, place: int) -> tuple[float, float, float]:
        """How much higher the accuracy is than on the attacked path itself, and its 95 % interval: on the same images
        and after the same attacks, so it is known better than either."""
        if place == 0:
            return 0.0, 0.0, 0.0
        gain = crossed_difference(self.correct[:, :, place], self.correct[:, :, 0])
        return gain.gap, *gain.interval()

    @property
    def by_pair(self) -> NDArray[np.float64]:
        """Accuracy [pairs, differences]."""
        return np.asarray(self.correct.mean(0), dtype=float)

    @property
    def expected(self) -> tuple[float, float, float]:
        """The mean over differences as two independent draws have them: what the `paper` protocol estimates."""
        return _accuracy(self.correct @ np.array(self.shares))


def _accuracy(values: NDArray[Any]) -> tuple[float, float, float]:
    """All images meet the same pairs of paths."""
    return (float(values.mean()), *crossed_interval(values))


def path_pairs(subject: Subject, pairs: int, seed: int) -> list[tuple[Path, list[Path]]]:
    """`pairs` times a random path and, for every difference that occurs, one at that difference from it.

    Each pair is uniform among those of its difference. Pairs number k of all differences have their first path in
    common: one attack serves all of them, and differences compare on equal first paths. Raises InvalidValue for a
    network that does not draw.
    """
    space = subject.paths
    if not space.is_random:
        raise InvalidValue("RUN", subject.label, "a randomised network: this one has a single path")
    found = []
    for number in range(pairs):
        generator = stream(seed, "path pairs", number)
        first = space.sample(generator)
        found.append((first, [space.at_difference(first, d, generator) for d in space.differences]))
    return found


def drawn_pairs(subject: Subject, pairs: int, seed: int) -> list[Results]:
    """What a record says of the pairs."""
    return [{"first": str(first), "others": [str(other) for other in others]}
            for first, others in path_pairs(subject, pairs, seed)]


def path_difference(subject: Subject, spec: AttackSpec, pairs: int, keys: EvaluationSettings, classes: int, work: Work
                    ) -> DifferenceCurve:
    """Accuracy of a randomised network against path difference, on `pairs` pairs of paths for each."""
    check_plan(keys, [(spec, 0)], False, classes)
    space = subject.paths
    correct = [
        work(f"{spec.name} on {subject.label}, path {number + 1} of {pairs}",
             _on_pair(subject.model, first, others, spec, keys, classes))["right"]
        for number, (first, others) in enumerate(path_pairs(subject, pairs, keys.seed))
    ]
    shares = tuple(space.difference_shares[d] for d in space.differences)
    return DifferenceCurve(space.differences, shares, np.stack(correct, axis=1))


def _on_pair(model: Classifier, first: Path, others: list[Path], spec: AttackSpec, keys: EvaluationSettings,
             classes: int) -> OnBatch:
    evaluator = Evaluator(Held(model, first), keys, classes)

    def on_batch(batch: Batch, start: int) -> Arrays:
        groups = evaluator.attacker.groups(start, len(batch.indices))
        images, _ = evaluator.attacker(spec, SAME_PATH, batch, groups)
        right = [evaluator.predictions(images, other, batch, groups)[0] == batch.labels for other in others]
        return {"right": np.stack([each.cpu().numpy() for each in right], axis=1)}
    return on_batch
