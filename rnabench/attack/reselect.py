"""AutoAttack's `rand` with another choice: among several tries by many draws, not by one."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from rnabench.attack.apgd import APGD
from rnabench.attack.attack import Attack, Uniform
from rnabench.attack.estimators import Estimator
from rnabench.attack.resumable import Kept, resumable
from rnabench.attack.threat import Threat
from rnabench.settings.attacks import ATTACKS


@ATTACKS.register("reselect")
class Reselect(Attack):
    """APGD with cross-entropy and with the DLR loss, from an image each; of these two and the clean image the one is
    returned that most of at least `draws` fresh draws misclassify, the same draws for all three (of equals, the first).

    AutoAttack's `rand` runs the same two attacks, but gives an image up after one forward that misclassifies it, be it
    the clean one, and hands it back as its best try.
    """

    summary = "AutoAttack's APGD-CE and APGD-DLR, of which the better on many draws counts (and not one lucky draw)"
    paper = "Croce and Hein 2020; Liu et al. 2024"
    random_start = True

    steps: int = Field(default=100, strict=True, ge=1, le=100_000)
    draws: int = Field(default=100, strict=True, ge=1, le=10_000)

    @property
    def losses(self) -> frozenset[str]:
        return frozenset({"ce", "dlr"})

    @property
    def least_classes(self) -> int:
        return 3

    @property
    def parts(self) -> tuple[APGD, ...]:
        return APGD(steps=self.steps), APGD(steps=self.steps, loss="dlr")

    def passes(self, is_random: bool, classes: int) -> tuple[float, float]:
        return self.passes_of(0, classes)

    def passes_of(self, samples: int, classes: int) -> tuple[float, float]:
        each = [part.passes_of(samples, classes)[0] for part in self.parts]
        compared = -(-self.draws // samples) * samples if samples else 1
        return sum(each), (len(each) + 1) * compared

    def run(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform, threat: Threat) -> Tensor:
        tries = [part.run(estimator, images, labels, uniform, threat) for part in self.parts] + [images]
        seen = Kept(wrong=torch.zeros(len(tries), len(images), device=images.device))
        for _ in resumable(range(-(-self.draws // estimator.samples) if estimator.is_random else 1), seen):
            held = estimator.held()  # the same draws for all tries
            seen.wrong += torch.stack([held.wrong(each, labels) for each in tries])
        best: Tensor = torch.stack(tries)[seen.wrong.argmax(0), torch.arange(len(images), device=images.device)]
        return best
