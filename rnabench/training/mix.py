"""Adversarial and clean images together (Goodfellow et al. 2015; eq. 6.1 of the thesis)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar

import torch
from torch import Tensor, nn

from rnabench.norm.mixture import mixtures, use_branch
from rnabench.settings.training import OBJECTIVES, TrainingSettings
from rnabench.training.objective import ATTACK_SETTINGS, Network, Objective


@OBJECTIVES.register("mix")
class Mix(Objective):
    """`clean_weight` times the loss of the clean images, plus the rest times that of the adversarial ones.

    Both are one batch, whose statistics normalise both. In a network with mixture BNs each kind goes through a branch
    of its own instead, and the attack through that of adversarial images. In a space of paths it is Algorithm 1:
    another path than the attacked one is trained, by both kinds of images.

    Of the clean images `clean_share` are kept, the first ones of the batch, whose order is random anyway; without any
    what is left is adversarial training, whatever the weight.
    """

    settings: ClassVar[tuple[str, ...]] = (*ATTACK_SETTINGS, "label_smoothing", "clean_weight", "clean_share")

    def __init__(self, model: nn.Module, recipe: TrainingSettings, teacher: Network | None = None) -> None:
        super().__init__(model, recipe, teacher)
        self.has_branches = bool(mixtures(model))

    @classmethod
    def clean_part(cls, recipe: TrainingSettings) -> float:
        """The share of a batch's clean images that a step needs."""
        return recipe.clean_share if recipe.clean_weight else 0.0

    @classmethod
    def cost(cls, recipe: TrainingSettings) -> float:
        return super().cost(recipe) * (1 + cls.clean_part(recipe))

    def during_attack(self) -> AbstractContextManager[None]:
        return self._branch("adv")

    def loss(self, network: Network, images: Tensor, adversarial: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        attacked, clean = self.both(network, images, adversarial)
        return self.weighted(attacked, clean, labels), attacked

    def both(self, network: Network, images: Tensor, adversarial: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the adversarial images, [N, classes], and of the first K clean ones, [K, classes]."""
        part = self.clean_part(self.recipe)
        kept = max(1, round(part * len(images))) if part else 0
        if self.has_branches:
            with self._branch("adv"):
                attacked = network(adversarial)
            with self._branch("clean"):
                return attacked, network(images[:kept]) if kept else attacked[:0]
        together = network(torch.cat([adversarial, images[:kept]]) if kept else adversarial)
        return together[: len(images)], together[len(images) :]

    def weighted(self, attacked: Tensor, clean: Tensor, labels: Tensor) -> Tensor:
        """Eq. 6.1, from the logits of both kinds."""
        loss, weight = self.cross_entropy(attacked, labels), self.recipe.clean_weight
        if not len(clean):
            return loss
        return weight * self.cross_entropy(clean, labels[: len(clean)]) + (1 - weight) * loss

    def _branch(self, name: str) -> AbstractContextManager[None]:
        return use_branch(self.model, name) if self.has_branches else nullcontext()
