"""What a training step minimises: standard, white-box and black-box adversarial training."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from rnabench.settings.training import OBJECTIVES


class Objective:
    """Which path is attacked, which one is trained, and by what loss. One class, registered under its name.

    A step draws a path, and attacks the batch through it with the recipe's PGD if the objective `attacks`; it then
    trains another path that it draws, or the attacked one if the objective `trains_attacked_path`.
    """

    attacks: ClassVar[bool] = True
    trains_attacked_path: ClassVar[bool] = False

    def loss(self, network: Callable[[Tensor], Tensor], images: Tensor, adversarial: Tensor, labels: Tensor
             ) -> tuple[Tensor, Tensor]:
        """The scalar to minimise, and the logits [N, classes] of which the log counts the correct ones.

        `network` maps images [N, 3, H, W] in [0, 1] to float32 logits on the trained path; `adversarial` are `images`
        after the attack (without one, the same); labels int64 [N].
        """
        logits = network(adversarial)
        return F.cross_entropy(logits, labels), logits


@OBJECTIVES.register("standard")
class Standard(Objective):
    """No attack."""

    attacks = False


@OBJECTIVES.register("white-box")
class WhiteBox(Objective):
    """Attack a path and train the same one."""

    trains_attacked_path = True


@OBJECTIVES.register("black-box")
class BlackBox(Objective):
    """Attack a path and train another one (Algorithm 1)."""
