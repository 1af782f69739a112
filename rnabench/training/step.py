"""One step of training: draw, attack, loss, gradients; on any objective."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from rnabench.attack.attack import Uniform
from rnabench.attack.estimators import GRADIENT_COST, OnePath, OnPass, Watched, frozen_parameters, nobody
from rnabench.attack.gradient import PGD
from rnabench.attack.threat import Linf
from rnabench.data.batches import Batch
from rnabench.model.classifier import RandomizedClassifier, in_mode
from rnabench.norm.layers import frozen_statistics
from rnabench.path.choice import choice_layers
from rnabench.path.path import Path
from rnabench.seeding import ExampleStreams
from rnabench.settings.training import OBJECTIVES, TrainingSettings
from rnabench.training.objective import Objective


class TrainingStep:
    """Batch in, loss out, by the recipe's objective.

    Every draw is named by (seed, what, epoch, and the example or, for a batch's path, the step).
    """

    def __init__(self, model: RandomizedClassifier, recipe: TrainingSettings) -> None:
        self.model, self.recipe = model, recipe
        self.objective: Objective = OBJECTIVES[recipe.objective]()
        self.on_pass: OnPass = nobody  # told of every pass of the inner attack
        self._trained = Path(((),))

    def attack(self, epoch: int | None = None) -> tuple[PGD, Linf]:
        """The inner attack and its threat model; in the first `eps_warmup` epochs eps and step size grow to their full
        values."""
        recipe = self.recipe
        share = 1.0 if epoch is None else min(1.0, (epoch + 1) / (recipe.eps_warmup + 1))
        return PGD(steps=recipe.steps, step_size=share * recipe.step), Linf(share * recipe.eps)

    def __call__(self, batch: Batch, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Mean loss (a scalar to call backward on) and the number of correct predictions, both on the device."""
        images, path = batch.images, self._draw("update path", batch, epoch, step)
        if self.objective.attacks:
            attacked = self._draw("attack path", batch, epoch, step)
            start = ExampleStreams(self.recipe.seed, "attack start", indices=batch.indices, first=epoch,
                                   device=images.device)
            images = self.adversarial(*self.attack(epoch), batch, attacked, start.uniform)
            path = attacked if self.objective.trains_attacked_path else path
        self._trained, network = path, self.model.on(path)
        loss, logits = self.objective.loss(lambda each: network(each).float(), batch.images, images, batch.labels)
        return loss, (logits.detach().argmax(1) == batch.labels).sum()

    def backward(self, loss: Tensor) -> None:
        """Parameter gradients. For the options that the batch's path does not use: None, so that they stand still, or
        zeros, so that SGD applies momentum and weight decay to them (`unused_options: decay`).

        torch 1.7.1, on which the released code runs, sets gradients to zero between steps; torch 2 drops them.
        """
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.unused_options == "decay":
            for parameter in self.model.parameters():
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
        elif self.model.compiled and not self._trained.per_sample:
            # a compiled network computes zeros for all options
            for layer, choice in zip(choice_layers(self.model).values(), self._trained.rows[0], strict=True):
                for number, option in enumerate(layer.options):
                    if number != choice:
                        option.zero_grad(set_to_none=True)

    def adversarial(self, attack: PGD, threat: Linf, batch: Batch, path: Path, uniform: Uniform) -> Tensor:
        """The batch's adversarial images through a frozen path (or one for each image), in the recipe's attack mode."""
        training = self.model.training and self.recipe.attack_mode == "train"
        statistics = nullcontext() if self.recipe.track_attack_stats else frozen_statistics(self.model)
        with in_mode(self.model, training), frozen_parameters(self.model), statistics:
            return attack.run(OnePath(Watched(self.model, self.on_pass), path), batch.images, batch.labels,
                              lambda *shape: uniform(*shape).to(memory_format=torch.channels_last), threat)

    @property
    def attack_passes(self) -> float:
        """What an attack in training costs per image, in forward passes."""
        return GRADIENT_COST * self.recipe.steps

    def _draw(self, what: str, batch: Batch, epoch: int, step: int) -> Path:
        rows = self.recipe.granularity == "sample"
        streams = ExampleStreams(self.recipe.seed, what, indices=batch.indices if rows else [step], first=epoch,
                                 device=batch.images.device if rows else "cpu")
        return self.model.space.sample_each(streams)
