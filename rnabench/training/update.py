"""A training step applied: run as it comes, or recorded whole (attack, gradients, update) and replayed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rnabench.data.batches import Batch
from rnabench.model.classifier import RandomizedClassifier
from rnabench.path.choice import ChoiceLayer, choice_layers
from rnabench.runtime.captured import Captured
from rnabench.training.step import Drawn, TrainingStep


class Update:
    """Changes the network by one batch after the other.

    The options that a batch's paths do not use stand still, or go on by momentum and weight decay if the recipe says
    `unused_options: decay`: torch 1.7.1, on which the released code runs, sets gradients to zero between steps, which
    does the latter; torch 2 drops them.
    """

    def __init__(self, step: TrainingStep) -> None:
        self.step, self.model = step, step.model
        self.optimizer = self._sgd(step.recipe.lr)
        self._unused = Unused(self.model) if self.model.tensor_paths else None

    def __call__(self, batch: Batch, epoch: int, number: int, rate: float) -> tuple[Tensor, Tensor]:
        """Mean loss and number of correct predictions before the update, both on the device; `rate` is the learning
        rate of this step, which is number `number` of its epoch."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return self._apply(batch.images, batch.labels, self.step.draw(batch, epoch, number), epoch)

    def state_dict(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)
        self._fill_momenta(self.optimizer)

    def _sgd(self, rate: float | Tensor, **how: bool) -> torch.optim.SGD:
        recipe = self.step.recipe
        groups = [{"params": parameters, "weight_decay": decay} for parameters, decay in zip(
            decayed_or_not(self.model), (recipe.weight_decay, 0.0), strict=True) if parameters]
        optimizer = torch.optim.SGD(groups, lr=rate, momentum=recipe.momentum, **how)
        self._fill_momenta(optimizer)
        return optimizer

    def _fill_momenta(self, optimizer: torch.optim.SGD) -> None:
        """Those that are not there, with what the first step of their parameter would make them of."""
        for parameter in self.model.parameters() if self.step.recipe.momentum else ():
            if optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def _apply(self, images: Tensor, labels: Tensor, drawn: Drawn, epoch: int) -> tuple[Tensor, Tensor]:
        with self.step.statistics(epoch):
            loss, hits = self.step.loss(images, labels, drawn, *self.step.attack(epoch))
        self.optimizer.zero_grad()
        loss, hits = self._gradients(loss, hits)
        decay = self.step.recipe.unused_options == "decay"
        for parameter in self.model.parameters() if decay else ():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if decay or self._unused is None or drawn.trained.per_sample:
            self.optimizer.step()
        else:
            self._unused.step(self.optimizer, torch.cat([path.choices for path in drawn.all_trained]))
        return loss, hits

    def _gradients(self, loss: Tensor, hits: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the parameters, by this loss; returns it, and the hits, as numbers of the whole batch."""
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), hits


def decayed_or_not(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters that weight decay pulls to 0, and those that their modules name in `undecayed`."""
    spared = {getattr(module, name) for module in model.modules() for name in getattr(module, "undecayed", ())}
    parameters = list(model.parameters())
    return [each for each in parameters if each not in spared], [each for each in parameters if each in spared]


class CapturedUpdate(Update):
    """The same, recorded as a CUDA graph; anew when the attack's eps changes, and when statistics are frozen. An
    incomplete batch runs as it comes.

    The recorded network takes its paths as tensors and computes all options, of which each image uses its own.
    """

    def __init__(self, step: TrainingStep) -> None:
        step.model.tensor_paths = True
        super().__init__(step)
        self.device = next(self.model.parameters()).device
        self.rate = torch.tensor(step.recipe.lr, device=self.device)
        self.optimizer = self._sgd(self.rate, fused=True)
        self._recorded: tuple[object, Captured] | None = None

    def __call__(self, batch: Batch, epoch: int, number: int, rate: float) -> tuple[Tensor, Tensor]:
        self.rate.fill_(rate)
        what = self.step.attack(epoch), self.step.frozen(epoch)
        if self._recorded is None or self._recorded[0] != what:
            def work(images: Tensor, labels: Tensor, *drawn: Tensor) -> tuple[Tensor, Tensor]:
                return self._apply(images, labels, Drawn.of(*drawn), epoch)

            momenta = [value for each in self.optimizer.state.values() for value in each.values() if value is not None]
            state = [*self.model.parameters(), *self.model.buffers(), *momenta]
            self._recorded = what, Captured(work, state, self.device)
        drawn = self.step.draw(batch, epoch, number).tensors
        if len(batch.indices) != self.step.recipe.batch_size:
            return self._apply(batch.images, batch.labels, Drawn.of(*(each.to(self.device) for each in drawn)), epoch)
        loss, hits = self._recorded[1](batch.images, batch.labels, *drawn)
        return loss, hits

    def state_dict(self) -> dict[str, Any]:
        """As the update that runs as it comes has it, so that either goes on from the other's."""
        state = self.optimizer.state_dict()
        groups = [group | {"lr": float(group["lr"]), "fused": None} for group in state["param_groups"]]
        return state | {"param_groups": groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        groups = [group | {"lr": self.rate, "fused": True} for group in state["param_groups"]]
        self.optimizer.load_state_dict(state | {"param_groups": groups})
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate  # not the copy that was loaded
        self._fill_momenta(self.optimizer)
        self._recorded = None  # on other momenta


class Unused:
    """The options that one-row paths leave out, where paths are tensors: their gradients are then zeros, by which an
    optimiser's step applies momentum and weight decay to them."""

    def __init__(self, model: RandomizedClassifier) -> None:
        places = {layer.key: place for place, layer in enumerate(choice_layers(model).values())}
        options = [(places[layer.key], number, parameter) for layer in model.modules() if isinstance(layer, ChoiceLayer)
                   for number, option in enumerate(layer.options) for parameter in option.parameters()]
        self.parameters = list(dict.fromkeys(parameter for _, _, parameter in options))
        self._sizes = [parameter.numel() for parameter in self.parameters]
        owner = {parameter: row for row, parameter in enumerate(self.parameters)}
        device = next(model.parameters()).device
        # what must be chosen for a parameter to be used: an option of a layer, and where that layer is part of an
        # option itself, that one too; then the parameter that each value belongs to
        self._place, self._number, self._owner = (
            torch.tensor(numbers, dtype=torch.int64).to(device) for numbers in (
                [place for place, _, _ in options], [number for _, number, _ in options],
                [owner[parameter] for _, _, parameter in options]))
        sizes = torch.tensor(self._sizes, dtype=torch.int64)
        self._of_value = torch.arange(len(sizes)).repeat_interleave(sizes).to(device)

    @torch.no_grad()
    def step(self, optimizer: torch.optim.Optimizer, choices: Tensor) -> None:
        """The optimiser's step, without effect on the options that all of `choices`, int64 [P, L], leave out."""
        buffers = [value for parameter in self.parameters for value in optimizer.state[parameter].values()
                   if value is not None]
        changed = [*self.parameters, *buffers]
        before = torch._foreach_mul(changed, 1) if changed else []
        optimizer.step()
        if changed:
            missed = (choices.to(self._place.device)[:, self._place] != self._number).to(changed[0].dtype)
            left_out = missed.new_zeros(len(choices), len(self.parameters)).index_add_(1, self._owner, missed)
            parts = torch.split(left_out.clamp_max_(1).amin(0)[self._of_value], self._sizes)
            masks = [mask.view_as(each) for mask, each in zip(parts, self.parameters, strict=True)]
            torch._foreach_lerp_(changed, list(before), masks * (len(changed) // len(masks)))
