"""Kept adversarial images on draws of their own, or on another network: scored as the evaluation scored them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rnabench.attack.attack import check, ready
from rnabench.attack.estimators import frozen_parameters
from rnabench.data.batches import Batch, BatchSource
from rnabench.defence.defence import Defence
from rnabench.errors import NumericalError
from rnabench.evaluation.attacker import Attacker
from rnabench.evaluation.batch import Evaluator
from rnabench.evaluation.cells import Cell
from rnabench.evaluation.kept_images import KeptImages
from rnabench.model.classifier import in_mode
from rnabench.norm.layers import frozen_statistics
from rnabench.path.path import Path
from rnabench.runtime.progress import Progress
from rnabench.runtime.stopping import StopRequest
from rnabench.scoring.interval import Groups
from rnabench.scoring.outcome import Outcome, joined
from rnabench.settings.attacks import AttackSpec
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.protocols import Protocol


@dataclass
class Replay(Attacker):
    """Hands back `kept` images in the place of an attack, once they are checked; its own path, by which `reported`
    goes, is the one that the attack had at this seed."""

    kept: KeptImages | None = None

    def __call__(self, spec: AttackSpec, protocol: Protocol, batch: Batch, groups: Groups) -> tuple[Tensor, Path]:
        assert self.kept is not None
        found = self.kept.of(batch)
        try:
            check(spec.name, found, batch.images, ready(spec, self.keys.norm, self.keys.eps, self.keys.step)[1])
        except NumericalError as error:
            raise NumericalError(f"images: {str(self.kept.file)!r}: {error}") from None
        averages = bool(protocol.samples) and self.defence.space.is_random
        return found, self.drawer("reported path" if averages else "attack path", batch, groups)(1)


def rescore(model: nn.Module, defence: Defence, source: BatchSource, classes: int, keys: EvaluationSettings, cell: Cell,
            images: int, kept: KeptImages | None, progress: Progress, stop: StopRequest) -> Outcome:
    """The outcome of a cell on the first `images` images, on the draws that `keys` names: of the `kept` adversarial
    images (None: natural accuracy, of the images themselves). Those that were not attacked any more count as broken.

    With the keys and the network of an evaluation it is that evaluation's outcome, bit by bit (for equal devices).
    Raises NumericalError for images outside [0, 1] or the ball, or logits that are not finite; Stopped.
    """
    evaluator = Evaluator(defence, keys, classes, progress)
    evaluator.attacker = evaluator.surrogate = Replay(defence, keys, classes, kept=kept)
    parts: list[Outcome] = []
    progress.begin(f"scores {cell.title}", images)
    with in_mode(model, training=False), frozen_parameters(model), frozen_statistics(model), torch.no_grad():
        for place, batch in enumerate(source.in_order(keys.batch_size)):
            first = place * keys.batch_size
            if first >= images:
                break
            if stop:
                raise stop.stopped(f"{cell.title}, {first} of {images} images")
            count = min(len(batch.indices), images - first)
            # mates that were attacked beside the last images are scored beside them, too
            if not (evaluator.whole and (kept is None or kept.has(batch.indices).all())):
                batch = batch.part(0, count)
            alive = np.ones(len(batch.indices), dtype=bool) if kept is None else kept.has(batch.indices)
            parts.append(evaluator.outcome(cell, batch, first, None if alive.all() else alive).first(count))
            progress.advance(count)
    return joined(parts)
