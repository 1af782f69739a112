"""A training step that several processes make together, each on its part of the batch, as one process would alone.

The gradients are added up after the backward pass, in one message, rather than by DistributedDataParallel. That wraps
one forward and one backward pass of a network whose parameters all take part; here an attack runs on the network itself
first, with frozen parameters, a path leaves options out, whose parameters have no gradient and must stand still, and
some objectives make several passes or differentiate twice. Sending gradients while others are still computed would save
little: the attack is most of a step.

Each process draws what its own examples draw anywhere (streams know examples, not processes), and a path of a batch is
drawn by the step's number, the same everywhere. Weights, momenta and running statistics so stay the same on all.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rnabench.data.batches import Batch
from rnabench.errors import InvalidValue
from rnabench.norm.shared_batch import shared_batch
from rnabench.runtime.ranks import Ranks
from rnabench.settings.training import OBJECTIVES, TrainingSettings
from rnabench.training.step import TrainingStep
from rnabench.training.update import Update


class SharedUpdate(Update):
    """`Update` of a network that each of several ranks holds, by its part of every batch. Where a normaliser takes the
    statistics of a batch, also while it is attacked, they are those of all parts."""

    def __init__(self, step: TrainingStep, ranks: Ranks) -> None:
        super().__init__(step)
        self.ranks = ranks

    def __call__(self, batch: Batch, epoch: int, number: int, rate: float) -> tuple[Tensor, Tensor]:
        """Mean loss and number of correct predictions of the whole batch."""
        with shared_batch(self.ranks.sizes(batch.size), self.ranks.rank) as parts:
            self._share = parts.own_share
            return super().__call__(batch, epoch, number, rate)

    def _gradients(self, loss: Tensor, hits: Tensor) -> tuple[Tensor, Tensor]:
        loss = loss * self._share  # the losses are means over images
        loss, hits = super()._gradients(loss, hits)
        parameters = list(self.model.parameters())
        # an option that only images of other ranks take has a gradient there alone
        used = self.ranks.any(*(parameter.grad is not None for parameter in parameters))
        gradients = [_gradient(parameter) for parameter, is_used in zip(parameters, used, strict=True) if is_used]
        counted = [loss[None].to(gradients[0].dtype), hits[None].to(gradients[0].dtype)]
        summed = self.ranks.add_up(torch.cat([*(gradient.flatten() for gradient in gradients), *counted]))
        *parts, loss, hits = torch.split(summed, [*(gradient.numel() for gradient in gradients), 1, 1])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return loss[0], hits[0].round().long()


def _gradient(parameter: torch.nn.Parameter) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def check_ranks(recipe: TrainingSettings, ranks: Ranks) -> None:
    """Raises InvalidValue for what cannot be shared among them so that the result is that of one process."""
    if not ranks.several:
        return
    if recipe.batch_size % ranks.count:
        raise InvalidValue("--batch-size", recipe.batch_size, f"a multiple of the {ranks.count} ranks that share it")
    for name in ("capture", "compile"):
        if getattr(recipe, name):
            raise InvalidValue(f"--{name}", True, f"false with {ranks.count} ranks: they talk within a pass, which can "
                               f"then not be {name}d")
    part = getattr(OBJECTIVES[recipe.objective], "clean_part", lambda recipe: 1.0)(recipe)
    if part not in (0.0, 1.0):
        raise InvalidValue("--clean-share", recipe.clean_share, f"1 with {ranks.count} ranks: the first images of a "
                           "batch are those of the first rank")


def check_last_batch(recipe: TrainingSettings, images: int, ranks: Ranks) -> None:
    """Raises InvalidValue where an incomplete batch has an image for some ranks only."""
    last = images % recipe.batch_size
    if not recipe.drop_last and 0 < last < ranks.count:
        raise InvalidValue("--batch-size", recipe.batch_size, f"one that leaves none or at least {ranks.count} of the "
                           f"{images} images for the last batch, an image for each rank; it leaves {last}")
