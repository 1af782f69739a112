"""An objective: which path is attacked, which one is trained, and by what loss."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from rnabench.settings.training import OBJECTIVES
from rnabench.training.objective import Objective


@OBJECTIVES.register("half-clean")
class HalfClean(Objective):
    """Half of the loss is that of the images as they are (Goodfellow et al. 2015); another path than the attacked."""

    def loss(self, network: Callable[[Tensor], Tensor], images: Tensor, adversarial: Tensor, labels: Tensor
             ) -> tuple[Tensor, Tensor]:
        logits = network(adversarial)
        return (F.cross_entropy(network(images), labels) + F.cross_entropy(logits, labels)) / 2, logits
