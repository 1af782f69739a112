"""How good a network is at some moment of its training, on images that are held out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rnabench.data.batches import Batch, BatchSource
from rnabench.model.classifier import RandomizedClassifier
from rnabench.runtime.progress import Progress, Silent, WithinBatch
from rnabench.runtime.ranks import ALONE, Ranks
from rnabench.seeding import ExampleStreams
from rnabench.training.step import TrainingStep

HOLDOUT_BATCH = 256
HeldOut = tuple[int, int, int]
"""How many batches of held-out images were looked at, and the hits among them, natural and robust."""
HOLDOUT_PATHS = 16  # attack paths; with a few that change every epoch, the best epoch would be the one with lucky paths


def holdout_accuracy(model: RandomizedClassifier, step: TrainingStep, source: BatchSource,
                     progress: Progress | None = None, before: HeldOut = (0, 0, 0),
                     on_batch: Callable[[HeldOut], None] = lambda so_far: None, ranks: Ranks = ALONE
                     ) -> tuple[float, float]:
    """Natural accuracy, and accuracy under the training attack as in the paper's protocol (another path predicts).

    Image i is attacked through path i mod 16 and predicted by the fresh path i mod 16 of another stream. Paths and
    starts depend on the recipe's seed alone: every epoch is judged by the same draws. Where predictions depend on batch
    mates, batches are as large as in training, and each has a path of its own. A mixture BN predicts natural images
    by its own branch, attacked ones by the branch that is attacked in training. Leaves `model` in eval mode. Goes on
    from what was found `before`, and tells `on_batch` how far it is.

    Several `ranks` share every batch; where predictions depend on batch mates, each looks at all of them.
    """
    mates = model.batch_dependent
    model.eval()
    size, first = step.recipe.batch_size if mates else HOLDOUT_BATCH, before[0]
    done = min(first * size, len(source))
    for number, batch in enumerate(source.in_order(size, start=first), start=first):
        count = len(batch.indices)
        groups = [number] if mates else [place % HOLDOUT_PATHS for place in range(done, done + count)]
        within = WithinBatch(progress or Silent(), count, (step.attack_passes + 2) / (1 if mates else ranks.count))
        step.on_pass = within.passed
        if mates or not ranks.several:
            found = _hits(model, step, batch, groups)
        else:
            own = ranks.rows(count)
            here = _hits(model, step, batch.part(own.start, own.stop), groups[own]) if own.start < own.stop else [0, 0]
            found = ranks.total(here)
        within.finish()
        done += count
        before = number + 1, before[1] + found[0], before[2] + found[1]
        on_batch(before)
    return before[1] / len(source), before[2] / len(source)


def _hits(model: RandomizedClassifier, step: TrainingStep, batch: Batch, groups: list[int]) -> list[int]:
    """How many of these images are right, natural and attacked, on the paths that `groups` draw: one each, or one."""
    seed, device = step.recipe.seed, batch.images.device
    attacked, predicting = (model.space.sample_each(ExampleStreams(seed, what, indices=groups, device=device))
                            for what in ("held-out attack path", "held-out path"))
    start, targets = step.start("held-out", batch), step.targets("held-out", batch)

    def right(images: Tensor) -> Tensor:
        predicted: Tensor = model.on(predicting)(images).argmax(1)
        return (predicted == batch.labels).sum()

    with step.objective.during_attack():
        adversarial = step.adversarial(*step.attack(), batch.images, batch.labels if targets is None else targets,
                                       attacked, lambda *shape: start)
        with torch.no_grad():
            robust = right(adversarial)
    with torch.no_grad():
        natural = right(batch.images)
    hits: list[int] = torch.stack([natural, robust]).tolist()  # the host waits here, once for a batch
    return hits
