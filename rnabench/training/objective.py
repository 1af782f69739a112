"""What a training step minimises: standard, white-box and black-box adversarial training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnabench.errors import InvalidValue
from rnabench.model.classifier import RandomizedClassifier
from rnabench.norm.layers import norm_layers
from rnabench.path.space import PathSpace
from rnabench.settings.training import OBJECTIVES, TrainingSettings

Network = Callable[[Tensor], Tensor]
"""Images [N, 3, H, W] in [0, 1] to float32 logits [N, classes], on one path."""


ATTACK_SETTINGS = ("target", "clean_start")


class Objective:
    """Which paths are attacked and trained, and by what loss. One class, registered under its name.

    A step draws the `paths` that are trained, and attacks the batch with the recipe's PGD if the objective `attacks`:
    through another path that it draws, or through the first trained one if the objective `trains_attacked_path`.
    `settings` are those that other objectives refuse: an objective that attacks lists ATTACK_SETTINGS, and one whose
    loss is this class's `cross_entropy` lists `label_smoothing`. The best epoch is the most robust one, or that of the
    highest natural accuracy if the objective attacks nothing or is not `for_robustness`.
    """

    attacks: ClassVar[bool] = True
    trains_attacked_path: ClassVar[bool] = False
    paths: ClassVar[int] = 1
    settings: ClassVar[tuple[str, ...]] = ()
    for_robustness: ClassVar[bool] = True

    def __init__(self, model: nn.Module, recipe: TrainingSettings, teacher: Network | None = None) -> None:
        """`model` is the network that is trained, for what is set on it (as the branch of a mixture BN); `teacher` the
        recipe's."""
        self.model, self.recipe, self.teacher = model, recipe, teacher

    @classmethod
    def check(cls, recipe: TrainingSettings, space: PathSpace) -> None:
        """Raises InvalidValue for a network, of that space of paths, that cannot be trained like that."""
        if cls.paths > 1 and not space.is_random:
            raise InvalidValue("--objective", recipe.objective, "another one for a network of one path: this one "
                               f"trains {cls.paths} at a time; or more paths, as those of --space bn+in")

    @classmethod
    def cost(cls, recipe: TrainingSettings) -> float:
        """The arithmetic of a step per image, without the attack and the teacher, in forward passes of the network: one
        forward pass, one for the gradients by the activations and one for those by the weights, on every path."""
        return 3.0 * cls.paths

    def during_attack(self) -> AbstractContextManager[None]:
        """What holds while a batch is attacked, and while attacked held-out images are predicted; nothing here."""
        return nullcontext()

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean over images, a scalar, by the recipe's smoothed labels."""
        return F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)

    def taught(self, images: Tensor) -> Tensor:
        """The teacher's probabilities [N, classes], without gradients. Raises ValueError if it is not there."""
        if self.teacher is None:
            raise ValueError("this step was made without a teacher")
        with torch.no_grad():
            return self.teacher(images).float().softmax(1)

    def loss(self, network: Network, images: Tensor, adversarial: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The scalar to minimise for one path, and the logits [N, classes] of which the log counts the correct ones.

        `network` maps images [N, 3, H, W] in [0, 1] to float32 logits on the trained path, and other numbers of images
        too: image i goes the way of image i mod N. `adversarial` are `images` after the attack (without one, the same);
        labels int64 [N].
        """
        logits = network(adversarial)
        return self.cross_entropy(logits, labels), logits

    def joint_loss(self, networks: Sequence[Network], images: Tensor, adversarial: Tensor, labels: Tensor
                   ) -> tuple[Tensor, Tensor]:
        """The same for all trained paths together: the mean of their losses, and the first one's logits."""
        each = [self.loss(network, images, adversarial, labels) for network in networks]
        return torch.stack([loss for loss, _ in each]).mean(), each[0][1]


def check_network(recipe: TrainingSettings, model: RandomizedClassifier) -> None:
    """Raises InvalidValue for a network that cannot be trained as the recipe says."""
    OBJECTIVES[recipe.objective].check(recipe, model.space)
    for name in ("capture", "compile"):
        if getattr(recipe, name) and model.on_host:
            raise InvalidValue(f"--{name}", True, f"false: a part of this network (defence {recipe.defence}) works on "
                               "the CPU, image by image")
    if recipe.frozen_epochs and not any(norm.active.tracked for norm in norm_layers(model).values()):
        raise InvalidValue("--frozen-epochs", recipe.frozen_epochs, f"0: no normaliser of space {recipe.space!r} keeps "
                           "running statistics to train with")


@OBJECTIVES.register("standard")
class Standard(Objective):
    """No attack."""

    attacks = False
    settings = ("label_smoothing",)


@OBJECTIVES.register("white-box")
class WhiteBox(Objective):
    """Attack a path and train the same one."""

    trains_attacked_path = True
    settings = (*ATTACK_SETTINGS, "label_smoothing")


@OBJECTIVES.register("black-box")
class BlackBox(Objective):
    """Attack a path and train another one (Algorithm 1)."""

    settings = (*ATTACK_SETTINGS, "label_smoothing")
