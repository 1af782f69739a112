"""What every draw predicts, on clean images and on those of an attack that averages over draws."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rnabench.data.batches import Batch
from rnabench.evaluation.attacker import check_plan
from rnabench.evaluation.batch import Evaluator
from rnabench.evaluation.sizes import check_sizes
from rnabench.scoring.agreement import agreement
from rnabench.scoring.interval import Bits, Groups, accuracy_interval
from rnabench.settings.attacks import AttackSpec
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.protocols import parse_protocol
from rnabench.studies.measure.subject import Subject, together
from rnabench.studies.measure.work import Arrays, Work

CLEAN, ATTACKED = "clean", "attacked"


@dataclass(frozen=True)
class Predicted:
    """On some images, [N, D] each: the classes that the draws predict, and whether these are right."""

    classes: NDArray[np.int64]
    right: Bits
    groups: Groups | None

    @property
    def by_image(self) -> NDArray[np.float64]:
        """The agreement of each image's draws, [N]."""
        return agreement(self.classes)

    @property
    def agreement(self) -> tuple[float, float, float]:
        """Its mean over images, and the 95 % interval of that: images count, and the groups that share draws. What
        draws nothing agrees with itself, for sure."""
        if self.right.shape[1] == 1 and self.groups is None:
            return 1.0, 1.0, 1.0
        each = np.broadcast_to(self.by_image[:, None], self.right.shape)
        return (float(each.mean()), *accuracy_interval(each, self.groups))

    @property
    def accuracy(self) -> tuple[float, float, float]:
        """And the accuracy."""
        return (float(self.right.mean()), *accuracy_interval(self.right, self.groups))

    def take(self, chosen: Bits) -> Predicted:
        """On some of the images, [N]."""
        return replace(self, classes=self.classes[chosen], right=self.right[chosen],
                       groups=None if self.groups is None else self.groups[chosen])


def predicted(subject: Subject, spec: AttackSpec, samples: int, keys: EvaluationSettings, classes: int, work: Work
              ) -> dict[str, Predicted]:
    """On clean images, and on those of the attack under `eot:K`, K `samples` (a deterministic network: as it is): on
    the same `keys.draws` draws, those of an evaluation with the same seed. Raises InvalidValue for an attack that the
    network cannot be attacked with."""
    check_plan(keys, [(spec, samples if subject.is_random else 0)], subject.is_random, classes)
    check_sizes(subject.defence, [spec], work.source, subject.label)
    evaluator, protocol = Evaluator(subject.defence, keys, classes), parse_protocol(f"eot:{samples}")

    def on_batch(batch: Batch, first: int) -> Arrays:
        groups = evaluator.attacker.groups(first, len(batch.indices))
        draws = keys.draws if subject.is_random else 1
        found = {name: np.zeros((len(groups), draws)) for name in (CLEAN, ATTACKED)}
        for rows in together(subject.defence, groups):
            part, own = batch.take(rows.tolist()), groups[rows]
            images, _ = evaluator.attacker(spec, protocol, part, own)
            for name, shown in ((CLEAN, part.images), (ATTACKED, images)):
                found[name][rows] = evaluator.predictions(shown, None, part, own).T.cpu().numpy()
        return found | {"labels": batch.labels.cpu().numpy()}

    arrays = work(f"{subject.label}: {spec.name}", on_batch)
    groups = evaluator.attacker.groups(0, len(work.source)) if subject.is_random else None
    return {name: Predicted(arrays[name].astype(np.int64), arrays[name] == arrays["labels"][:, None], groups)
            for name in (CLEAN, ATTACKED)}
