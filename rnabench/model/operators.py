"""Layers of a super-network (SORS paper, section 3.2): several operators side by side, one of which is drawn."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rnabench.model.normalizers import NormFactory
from rnabench.norm.layers import norm_layers
from rnabench.norm.shared_batch import anywhere
from rnabench.norm.statistics import no_leaves, plain_formulas
from rnabench.path.choice import ChoiceLayer, choice_layers, choose_alike, use_choices

LETTERS = "abcdefghijklmnop"  # name operators of one kind


class OperatorChoice(ChoiceLayer):
    """A choice among operators.

    With a choice for each sample, an operator runs on a CPU for those samples alone that take it, so that all of them
    together cost as much as one. Not where an image's result depends on its batch mates (BN in training), nor on a GPU,
    where to ask who takes what would wait for it: there every operator runs for all samples.
    """

    def mixed(self, x: Tensor, choice: Tensor) -> Tensor:
        if x.device.type != "cpu" or plain_formulas() or self._over_batch():
            return super().mixed(x, choice)
        counts = choice.bincount(minlength=len(self.options)).tolist()
        if len(x) in counts:
            result: Tensor = self.options[counts.index(len(x))](x)
            return result
        order = choice.argsort(stable=True)  # samples of one operator side by side
        inner = {layer.key.number: layer.current for option in self.options for layer in choice_layers(option).values()}
        within = {key: torch.split(each[order], counts) for key, each in inner.items()
                  if isinstance(each, Tensor) and len(each) > 1}  # choices inside of operators go with their samples
        parts = []
        for number, part in enumerate(torch.split(_reordered(x, order), counts)):
            if len(part):
                with use_choices({key: choices[number] for key, choices in within.items()}):
                    parts.append(self.options[number](part))
        return _reordered(torch.cat(parts), order.argsort())

    def _over_batch(self) -> bool:
        """Whether some operator takes statistics over the whole batch."""
        return any(norm.mixes_batch for norm in norm_layers(self).values())


class SeparateChoice(OperatorChoice):
    """A choice among operators with normalisers inside. In training the running statistics of one that no image takes
    stand still, also where all of them run: recorded, as run as it comes."""

    def mixed(self, x: Tensor, choice: Tensor) -> Tensor:
        kept = [(number, buffer, buffer.clone()) for number, option in enumerate(self.options)
                for norm in norm_layers(option).values() if norm.moves for buffer in norm.buffers()]
        result = super().mixed(x, choice)
        taken = [anywhere((choice == number).any()) for number in range(len(self.options))] if kept else []
        for number, buffer, before in kept:
            buffer.copy_(torch.where(taken[number], buffer, before))
        return result


def _reordered(x: Tensor, order: Tensor) -> Tensor:
    """x with row `order[i]` in place i; `order` has every row once."""
    result: Tensor = _Reordered.apply(*no_leaves(x), order)  # type: ignore[no-untyped-call]
    return result


class _Reordered(torch.autograd.Function):
    """Autograd's own backward of `x[order]` adds into zeros of another memory format."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor) -> Tensor:
        ctx.save_for_backward(order)
        return x[order]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (order,) = ctx.saved_tensors
        return _reordered(grads[0], order.argsort()), None


def one_of(operators: Mapping[str, nn.Module]) -> nn.Module:
    """A choice among named operators; the operator itself if there is only one."""
    return OperatorChoice(operators) if len(operators) > 1 else next(iter(operators.values()))


def normalised(operators: Mapping[str, nn.Conv2d], norm: NormFactory) -> dict[str, nn.Module]:
    """Convolutions, each followed by a normalisation layer of its own: what one operator sends on has other statistics
    than what another does. Where that layer is a choice too, a path has one choice of it, whatever the operator."""
    norms = [norm(convolution.out_channels) for convolution in operators.values()]
    choose_alike(norms)
    return {name: nn.Sequential(OrderedDict(conv=convolution, norm=layer))
            for (name, convolution), layer in zip(operators.items(), norms, strict=True)}
