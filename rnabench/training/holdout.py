"""How well a network in training does on held-out images: what the log shows, and what the best epoch is chosen by."""

from __future__ import annotations

import torch

from rnabench.data.batches import BatchSource
from rnabench.model.classifier import RandomizedClassifier
from rnabench.seeding import ExampleStreams
from rnabench.training.objective import Objective

BATCH = 256
PATHS = 16  # attack paths; with a few that change every epoch, the best epoch would be the one with lucky paths


def holdout_accuracy(model: RandomizedClassifier, objective: Objective, source: BatchSource) -> tuple[float, float]:
    """Natural accuracy, and accuracy under the training attack as in the paper's protocol (another path predicts).

    Image i is attacked through path i mod 16 and predicted by the fresh path i mod 16 of another stream. Paths and
    starts depend on the recipe's seed alone: every epoch is judged by the same draws. Leaves `model` in eval mode.
    """
    seed, device = objective.recipe.seed, next(model.parameters()).device
    hits = torch.zeros(2, dtype=torch.int64, device=device)
    model.eval()
    done = 0
    for batch in source.in_order(BATCH):
        groups = [place % PATHS for place in range(done, done + len(batch.indices))]
        attacked, predicting = (model.space.sample_each(ExampleStreams(seed, what, indices=groups))
                                for what in ("held-out attack path", "held-out path"))
        start = ExampleStreams(seed, "held-out start", indices=batch.indices, device=device)
        adversarial = objective.adversarial(objective.attack(), batch, attacked, start.uniform)
        with torch.no_grad():
            for place, images in enumerate((batch.images, adversarial)):
                hits[place] += (model.on(predicting)(images).argmax(1) == batch.labels).sum()
        done += len(batch.indices)
    natural_hits, robust_hits = hits.tolist()
    return natural_hits / len(source), robust_hits / len(source)
