"""Training objectives: standard, white-box and black-box adversarial training (Algorithm 1)."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F

from rnabench.attack.estimators import OnePath, frozen_parameters
from rnabench.attack.gradient import PGD
from rnabench.attack.threat import Linf
from rnabench.data.batches import Batch
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.mode import in_mode
from rnabench.norm.layers import frozen_statistics
from rnabench.path.choice import choice_layers
from rnabench.path.path import Path
from rnabench.recipe import TrainRecipe
from rnabench.seeding import stream


class Objective:
    """Batch in, loss out. Every draw comes from a stream named by (seed, what, epoch, step).

    black-box: attack through path p_a, train path p (Algorithm 1). white-box: train p_a itself. standard: no attack.
    """

    def __init__(self, model: RandomizedClassifier, recipe: TrainRecipe) -> None:
        self.model, self.recipe = model, recipe
        self._trained = Path(((),))

    def attack(self, epoch: int | None = None) -> PGD:
        """The inner attack; in the first `eps_warmup` epochs eps and step size grow to their full values."""
        recipe = self.recipe
        share = 1.0 if epoch is None else min(1.0, (epoch + 1) / (recipe.eps_warmup + 1))
        return PGD(Linf(share * recipe.eps), share * recipe.step, recipe.steps)

    def __call__(self, batch: Batch, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Mean loss (a scalar to call backward on) and the number of correct predictions, both on the device."""
        images, path = batch.images, self._draw("update path", batch, epoch, step)
        if self.recipe.objective != "standard":
            attacked = self._draw("attack path", batch, epoch, step)
            noise = stream(self.recipe.seed, "attack start", epoch, step, device=images.device)
            images = self.adversarial(self.attack(epoch), batch, attacked, noise)
            if self.recipe.objective == "white-box":
                path = attacked
        self._trained = path
        logits = self.model.on(path)(images).float()
        return F.cross_entropy(logits, batch.labels), (logits.detach().argmax(1) == batch.labels).sum()

    def backward(self, loss: Tensor) -> None:
        """Parameter gradients; None for the options that the batch's path does not use.

        A compiled network computes zeros for those, and SGD would then apply weight decay and momentum to them.
        """
        loss.backward()  # type: ignore[no-untyped-call]
        if self.model.compiled and not self._trained.per_sample:
            for layer, choice in zip(choice_layers(self.model).values(), self._trained.rows[0], strict=True):
                for number, option in enumerate(layer.options):
                    if number != choice:
                        option.zero_grad(set_to_none=True)

    def adversarial(self, attack: PGD, batch: Batch, path: Path, generator: torch.Generator) -> Tensor:
        """The batch's adversarial images through one frozen path, in the recipe's attack mode."""
        count, channels, height, width = batch.images.shape
        noise = torch.rand(count, height, width, channels, generator=generator, device=batch.images.device)
        training = self.model.training and self.recipe.attack_mode == "train"
        statistics = nullcontext() if self.recipe.track_attack_stats else frozen_statistics(self.model)
        with in_mode(self.model, training), frozen_parameters(self.model), statistics:
            return attack(OnePath(self.model, path), batch.images, batch.labels,
                          lambda *shape: noise.permute(0, 3, 1, 2))

    def _draw(self, what: str, batch: Batch, epoch: int, step: int) -> Path:
        rows = len(batch.indices) if self.recipe.granularity == "sample" else 1
        return self.model.space.sample(stream(self.recipe.seed, what, epoch, step), rows)
