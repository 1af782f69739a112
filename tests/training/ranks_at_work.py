"""Some steps of training in float64, by one process or by several: `python -m tests.training.ranks_at_work FILE`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import torch
from torch import Tensor

from rnabench.data import batches
from rnabench.data.batches import ResidentSource
from rnabench.jobs import train as jobs
from rnabench.model.factory import build_model
from rnabench.runtime.ranks import ALONE, Ranks, launched_ranks
from rnabench.settings.base import from_options
from rnabench.settings.training import TrainingSettings
from rnabench.training.holdout import holdout_accuracy
from rnabench.training.shared import SharedUpdate
from rnabench.training.step import TrainingStep
from rnabench.training.update import Update
from tests.helpers import random_images

SMALL = {"width": 2, "steps": 2, "batch_size": 8, "epochs": 1, "drop_last": False, "lr": 0.05}
CASES: dict[str, dict[str, object]] = {
    "bn": {"space": "bn"},
    "bn+in": {"space": "bn+in"},
    "bn+in, a path for each sample": {"space": "bn+in", "granularity": "sample"},
    "inner attacks move statistics": {"space": "bn+in", "track_attack_stats": True, "granularity": "sample"},
    "inner attacks by running statistics": {"space": "bn", "attack_mode": "eval"},
    "bgn of several channels": {"space": "bgn[2]", "bgn_momentum": 0.9, "bgn_variance": "unbiased"},
    "the range of the batch": {"space": "robust"},
    "statistics of the batch at inference too": {"space": "bn-batch"},
    "a branch for each kind of image": {"space": "mbn", "objective": "mbn"},
    "clean and adversarial images together": {"space": "bn+in", "objective": "mix"},
    "random operators": {"arch": "rs-lenet5", "space": "none", "granularity": "sample", "objective": "black-box"},
    "differentiated twice": {"arch": "rs-resnet18", "space": "bn", "objective": "sors"},
    "frozen statistics": {"space": "bn", "frozen_epochs": 1},
    "options that are left out go on": {"space": "bn+in", "unused_options": "decay"},
}
IMAGES = 8 * 2 + 5  # a last batch that two ranks cannot share evenly


def in_float64(put: Callable[[object, str, object], None] = setattr) -> None:
    """Let `rnabench train` compute so, by which the rounding of another order of sums stays small."""
    to_float, build = batches._to_float, jobs.build_model
    put(batches, "_to_float", lambda pixels: to_float(pixels).double())
    put(jobs, "build_model", lambda *arguments, **keys: build(*arguments, **keys).double())


def trained(changes: dict[str, object], ranks: Ranks) -> dict[str, Tensor]:
    """Losses, hits and weights of an epoch, and what the network then scores, by name."""
    recipe = from_options(TrainingSettings, {**SMALL, **changes})
    model = build_model(**recipe.network, granularity=recipe.granularity).double()
    step = TrainingStep(model, recipe, classes=10)
    update = SharedUpdate(step, ranks) if ranks.several else Update(step)
    size = 28 if "lenet" in recipe.arch else 32
    images, losses, hits = random_images(IMAGES, size=size), [], []
    source = ResidentSource(images, torch.device("cpu"), ranks=ranks)
    model.train()
    for number, batch in enumerate(source.shuffled(recipe.batch_size, 0, 0, drop_last=False)):
        loss, right = update(replace(batch, images=batch.images.double()), 0, number, recipe.lr)
        losses.append(loss.double())
        hits.append(right)
    model.float()
    scores = holdout_accuracy(model, step, ResidentSource(images, torch.device("cpu")), ranks=ranks)
    momenta = [each["momentum_buffer"] for each in update.optimizer.state.values()]
    return {"losses": torch.stack(losses), "hits": torch.stack(hits), "held out": torch.tensor(scores),
            "momenta": torch.cat([each.flatten() for each in momenta]),
            **{name: value.double() for name, value in model.state_dict().items()}}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with ExitStack() as stack:
        ranks = stack.enter_context(launched_ranks("cpu")) if len(sys.argv) > 1 else ALONE
        torch.save({name: trained(changes, ranks) for name, changes in CASES.items()}, f"{sys.argv[1]}.{ranks.rank}")
