"""A moving average of a network's weights: often more robust than where training ends, at hardly any cost."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class WeightAverage(Generic[M]):
    """average = decay * average + (1 - decay) * weights after every update, from the first one's weights on; of running
    statistics the same, while counters are those of the network.

    torch's AveragedModel does the same, but waits for the device in every update and rounds counters down.
    """

    def __init__(self, model: M, decay: float) -> None:
        self.average, self.decay, self.updates = copy.deepcopy(model), decay, 0

    @torch.no_grad()
    def follow(self, model: M) -> None:
        """Take in the network after one more update."""
        self.updates += 1
        pairs = list(zip(_tensors(self.average), _tensors(model), strict=True))
        smooth = [(ours, theirs) for ours, theirs in pairs if ours.is_floating_point()]
        share = 1 - self.decay if self.updates > 1 else 1.0
        torch._foreach_lerp_([ours for ours, _ in smooth], [theirs for _, theirs in smooth], share)
        for ours, theirs in pairs:
            if not ours.is_floating_point():
                ours.copy_(theirs)


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
