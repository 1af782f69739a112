"""Transfer matrix (Figure 1 c/d): what adversarial images made on one network, or ensemble, do to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnabench.data.batches import Batch
from rnabench.defence.defence import Defence
from rnabench.errors import InvalidValue
from rnabench.evaluation.attacker import check_plan
from rnabench.evaluation.batch import Evaluator
from rnabench.evaluation.ensemble import FusedLogits
from rnabench.evaluation.sizes import check_sizes, takes
from rnabench.scoring.interval import Bits, Groups, accuracy_interval, difference_interval, ratio_interval
from rnabench.scoring.outcome import bits, fewest_groups
from rnabench.settings.attacks import AttackSpec
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.protocols import Protocol
from rnabench.settings.studies import Results
from rnabench.settings.transferring import Weights
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

    def of(self, pool: Bits | None) -> TransferEntry:
        """On the images of the pool alone, [N] (None: all)."""
        if pool is None:
            return self
        return TransferEntry(self.source[pool], self.before[pool], self.after[pool],
                             None if self.groups is None else self.groups[pool])

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


@dataclass(frozen=True)
class Source:
    """What images are made on: a network, or an ensemble of them (then `weights` are its members')."""

    label: str
    defence: Defence
    weights: Weights | None = None


def sources(subjects: Sequence[Subject], ensembles: Mapping[str, Weights]) -> list[Source]:
    """The networks, and after them the ensembles."""
    by_label = {subject.label: subject.defence for subject in subjects}
    return [Source(subject.label, subject.defence) for subject in subjects] + [
        Source(name, FusedLogits([by_label[member] for member in weights], list(weights.values())), weights)
        for name, weights in ensembles.items()]


@dataclass(frozen=True)
class Transfers:
    """For each attack, cells [source][target]: targets are the networks, and, last in the row of an ensemble, that
    itself. `pool` [N]: the images that count, None if all do."""

    matrices: list[list[list[TransferEntry]]]
    pool: Bits | None


def transfer(subjects: Sequence[Subject], spec: AttackSpec, keys: EvaluationSettings, classes: int, work: Work
             ) -> list[list[TransferEntry]]:
    """Cells [source][target]. Every source is attacked as under `same-path`: on one path per group if it draws; targets
    that draw predict with `keys.draws` fresh paths, the same ones for every source.

    The diagonal is `rnabench attack --protocols same-path` with the same seed. Raises InvalidValue for an
    attack that these networks cannot be attacked with.
    """
    return transfers(subjects, [spec], keys, classes, work).matrices[0]


def transfers(subjects: Sequence[Subject], specs: Sequence[AttackSpec], keys: EvaluationSettings, classes: int,
              work: Work, ensembles: Mapping[str, Weights] | None = None, common: bool = False) -> Transfers:
    """The same for several attacks, which meet the same draws, and with ensembles as further sources.

    `common`: only images count that every network classifies correctly before any attack, on all fresh paths and on the
    one that is attacked. Raises InvalidValue also if there are none.
    """
    check_attacks(subjects, specs, keys, classes, work)
    made_on = sources(subjects, ensembles or {})
    evaluators = [Evaluator(source.defence, keys, classes) for source in made_on]
    clean = [work(f"clean images: {subject.label}", clean_images(evaluator))["right"]
             for subject, evaluator in zip(subjects, evaluators, strict=False)]
    pool: Bits | None = None
    if common:
        attacked = [work(f"clean images, attacked path: {source.label}", _attacked_path(evaluator))["right"]
                    for source, evaluator in zip(made_on, evaluators, strict=True)]
        pool = np.asarray(np.concatenate([*clean, *attacked], axis=1).all(1))
        if not pool.any():
            raise InvalidValue("common", True, "networks that all classify one of the images correctly, or more images")
    networks, matrices = range(len(subjects)), []
    for spec in specs:
        matrix = []
        for itself, source in enumerate(made_on):
            places = list(networks) if itself in networks else [*networks, itself]
            found = work(f"{spec.name} on {source.label}", on_images_of(evaluators[itself], SAME_PATH, spec, {
                f"target {place}": evaluators[place] for place in places}, pool))
            row = []
            for target in places:
                both = [evaluators[each] for each in (itself, target)]
                groups = fewest_groups(each.attacker.groups(0, len(work.source)) for each in both if each.random)
                before = found["source"] if target == itself else clean[target]
                row.append(TransferEntry(found["source"], before, found[f"target {target}"], groups).of(pool))
            matrix.append(row)
        matrices.append(matrix)
    return Transfers(matrices, pool)


def compared(found: Transfers, names: Sequence[str], networks: int) -> list[Results]:
    """How much accuracy each attack leaves all networks on images made on another one, less what each attack before it
    leaves: over the same images, with a 95 % interval."""
    pairs = [(a, b) for a in range(networks) for b in range(networks) if a != b]
    if not pairs:
        return []
    means = [np.stack([matrix[a][b].after.mean(1) for a, b in pairs], 1).mean(1, keepdims=True)
             for matrix in found.matrices]
    groups = fewest_groups(found.matrices[0][a][b].groups for a, b in pairs)
    said = []
    for place, name in enumerate(names):
        for than, before in zip(names[:place], means[:place], strict=True):
            gap, low, high = difference_interval(means[place], before, groups)
            said.append({"attack": name, "than": than, "gap": gap, "interval95": [low, high]})
    return said


def check_attacks(subjects: Sequence[Subject], specs: Sequence[AttackSpec], keys: EvaluationSettings, classes: int,
                  work: Work) -> None:
    """Raises InvalidValue for an attack that these networks cannot be attacked with, or a network that does not take
    the images."""
    check_plan(keys, [(spec, 0) for spec in specs], False, classes)
    images = next(work.source.in_order(1)).images
    for subject in subjects:
        if not takes(subject.defence, images):
            raise InvalidValue("RUN", subject.label, "a network that takes images of "
                                                     f"{images.shape[2]} x {images.shape[3]} pixels, as these are")
        check_sizes(subject.defence, specs, work.source, subject.label)


def clean_images(evaluator: Evaluator) -> OnBatch:
    """Who is `right` on the images as they are, [N, D]."""
    def on_batch(batch: Batch, first: int) -> Arrays:
        groups = evaluator.attacker.groups(first, len(batch.indices))
        right = evaluator.predictions(batch.images, None, batch, groups) == batch.labels
        return {"right": right.T.cpu().numpy()}
    return on_batch


def _attacked_path(evaluator: Evaluator) -> OnBatch:
    """The same on the path that attacks are on, [N, 1]."""
    def on_batch(batch: Batch, first: int) -> Arrays:
        groups = evaluator.attacker.groups(first, len(batch.indices))
        path = evaluator.attacker.drawer("attack path", batch, groups)(1)
        right = evaluator.predictions(batch.images, path, batch, groups) == batch.labels
        return {"right": right.T.cpu().numpy()}
    return on_batch


def on_images_of(source: Evaluator, protocol: Protocol, spec: AttackSpec, targets: Mapping[str, Evaluator],
                 pool: Bits | None = None) -> OnBatch:
    """Who is right on adversarial images that are made on `source`: the `targets` by name, [N, D] each, and, on the
    clean images, the `source` [N, 1] on the attacked path. Under `same-path` the source as a target predicts on that
    path. Images outside of the `pool` [N] need not be attacked, and then count as wrong."""
    if any(evaluator.whole for evaluator in (source, *targets.values())):
        pool = None  # batches stay whole

    def on_batch(batch: Batch, first: int) -> Arrays:
        count = len(batch.indices)
        rows = np.arange(count) if pool is None else np.flatnonzero(pool[first : first + count])
        rows = rows if len(rows) else np.arange(1)  # of no image nobody knows how many draws there are
        part = batch if len(rows) == count else batch.take(rows.tolist())

        def groups(evaluator: Evaluator) -> Groups:
            return np.asarray(evaluator.attacker.groups(first, count)[rows])

        images, path = source.attacker(spec, protocol, part, groups(source))
        before = source.predictions(part.images, path, part, groups(source))
        arrays = {"source": (before == part.labels).T.cpu().numpy()}
        for name, target in targets.items():
            shared = path if target is source and protocol.same_path else None
            predicted = target.predictions(images, shared, part, groups(target))
            arrays[name] = (predicted == part.labels).T.cpu().numpy()
        return {name: _in_place(array, rows, count) for name, array in arrays.items()}
    return on_batch


def _in_place(array: Bits, rows: NDArray[np.int64], count: int) -> Bits:
    """The rows of `count` images from those of some of them; the others are False."""
    whole = np.zeros((count, array.shape[1]), dtype=bool)
    whole[rows] = array
    return whole
