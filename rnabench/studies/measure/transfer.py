"""Transfer matrix (Figure 1 c/d): what adversarial images made on one network do to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rnabench.data.batches import Batch
from rnabench.evaluation.batch import Evaluator, check_plan
from rnabench.scoring.interval import Bits, Groups, accuracy_interval, ratio_interval
from rnabench.scoring.outcome import bits, fewest_groups
from rnabench.settings.attacks import AttackSpec
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.protocols import Protocol
from rnabench.settings.studies import Results
from rnabench.studies.measure.subject import Subject
from rnabench.studies.measure.work import Arrays, OnBatch, Work

SAME_PATH = Protocol("same-path", same_path=True)


@dataclass(frozen=True)
class TransferEntry:
    """One source and one target: who is right on every image and draw, bool [N, D] each.

    `before`: the target on the clean image. `source` [N, 1]: the source, on the attacked path, on the clean image.
    `after`: the target on the source's adversarial image. D is 1 for a target that does not draw, and on the diagonal,
    where the attacked path itself predicts. `groups` [N]: which images share draws, None if nothing is drawn; of
    two networks with different groups (one's are whole batches) the fewer ones.
    """

    source: Bits
    before: Bits
    after: Bits
    groups: Groups | None

    @property
    def accuracy(self) -> tuple[float, float, float]:
        """Accuracy on the adversarial images, and its 95 % interval."""
        return (float(self.after.mean()), *accuracy_interval(self.after, self.groups))

    @property
    def success(self) -> tuple[float, float, float] | None:
        """The share of images, right before on both, that the target gets wrong after; None if there are none."""
        counted = self.source & self.before
        return ratio_interval(counted & ~self.after, counted, self.groups)

    def as_json(self) -> Results:
        accuracy, low, high = self.accuracy
        success = self.success
        return {
            "accuracy": accuracy, "interval95": [low, high],
            "success": None if success is None else success[0],
            "success_interval95": None if success is None else list(success[1:]),
            "counted": float((self.source & self.before).mean(1).sum()), "draws": self.after.shape[1],
            "outcomes": {"source_clean": bits(self.source[:, 0]), "clean": [bits(draw) for draw in self.before.T],
                         "correct": [bits(draw) for draw in self.after.T]},
        }


def transfer(subjects: Sequence[Subject], spec: AttackSpec, keys: EvaluationSettings, classes: int, work: Work
             ) -> list[list[TransferEntry]]:
    """Cells [source][target]. Every source is attacked as under `same-path`: on one path per group if it draws; targets
    that draw predict with `keys.draws` fresh paths, the same ones for every source.

    The diagonal is `rnabench attack --protocols same-path` with the same seed. Raises InvalidValue for an
    attack that these networks cannot be attacked with.
    """
    check_plan(keys, [(spec, 0)], False, classes)
    evaluators = [Evaluator(subject.defence, keys, classes) for subject in subjects]
    clean = [work(f"clean images: {subject.label}", _clean(evaluator))["right"]
             for subject, evaluator in zip(subjects, evaluators, strict=True)]
    matrix = []
    for place, subject in enumerate(subjects):
        found = work(f"{spec.name} on {subject.label}", _attacked(evaluators, place, spec))
        row = []
        for target in range(len(subjects)):
            groups = fewest_groups(evaluators[each].attacker.groups(0, len(work.source)) for each in (place, target)
                                   if subjects[each].is_random)
            before = found["source"] if target == place else clean[target]
            row.append(TransferEntry(found["source"], before, found[f"target {target}"], groups))
        matrix.append(row)
    return matrix


def _clean(evaluator: Evaluator) -> OnBatch:
    def on_batch(batch: Batch, first: int) -> Arrays:
        groups = evaluator.attacker.groups(first, len(batch.indices))
        right = evaluator.predictions(batch.images, None, batch, groups) == batch.labels
        return {"right": right.T.cpu().numpy()}
    return on_batch


def _attacked(evaluators: Sequence[Evaluator], source: int, spec: AttackSpec) -> OnBatch:
    def on_batch(batch: Batch, first: int) -> Arrays:
        groups = evaluators[source].attacker.groups(first, len(batch.indices))
        images, path = evaluators[source].attacker(spec, SAME_PATH, batch, groups)
        before = evaluators[source].predictions(batch.images, path, batch, groups)
        arrays = {"source": (before == batch.labels).T.cpu().numpy()}
        for target, evaluator in enumerate(evaluators):
            groups = evaluator.attacker.groups(first, len(batch.indices))
            predicted = evaluator.predictions(images, path if target == source else None, batch, groups)
            arrays[f"target {target}"] = (predicted == batch.labels).T.cpu().numpy()
        return arrays
    return on_batch
