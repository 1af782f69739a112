"""AdvProp: adversarial images as augmentation for clean ones (Xie et al. 2020; chapter 7 of the thesis)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from rnabench.settings.training import OBJECTIVES, TrainingSettings
from rnabench.training.mix import Mix
from rnabench.training.objective import ATTACK_SETTINGS, Network


@OBJECTIVES.register("advprop")
class AdvProp(Mix):
    """The loss of the clean images plus that of the adversarial ones (eq. 7.3), each kind through its branch of a
    mixture BN. The attack goes through the auxiliary branch, by its statistics; inference uses that of clean images
    alone (Algorithm 2).

    On a network without mixtures it is `mix` with weights of a half, but for the sum, which is twice that mean.
    """

    settings: ClassVar[tuple[str, ...]] = (*ATTACK_SETTINGS, "label_smoothing")
    for_robustness = False

    @classmethod
    def clean_part(cls, recipe: TrainingSettings) -> float:
        return 1.0

    def loss(self, network: Network, images: Tensor, adversarial: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        attacked, clean = self.both(network, images, adversarial)
        return self.cross_entropy(clean, labels) + self.cross_entropy(attacked, labels), attacked
