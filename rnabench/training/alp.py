"""ALP, adversarial logit pairing (Kannan et al. 2018; chapter 6 of the thesis)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from rnabench.settings.training import OBJECTIVES, TrainingSettings
from rnabench.training.mix import Mix
from rnabench.training.objective import Network


@OBJECTIVES.register("alp")
class LogitPairing(Mix):
    """`mix`, plus `pairing` times the squared difference between the logits of a clean image and of its adversarial
    one, mean over pairs and classes. The thesis does not say what it weighs."""

    settings: ClassVar[tuple[str, ...]] = (*Mix.settings, "pairing")

    @classmethod
    def clean_part(cls, recipe: TrainingSettings) -> float:
        return recipe.clean_share if recipe.clean_weight or recipe.pairing else 0.0

    def loss(self, network: Network, images: Tensor, adversarial: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        attacked, clean = self.both(network, images, adversarial)
        loss = self.weighted(attacked, clean, labels)
        if self.recipe.pairing and len(clean):
            loss = loss + self.recipe.pairing * F.mse_loss(clean, attacked[: len(clean)])
        return loss, attacked
