"""Randomised smoothing (Cohen et al., ICML 2019): training under Gaussian noise, prediction by vote under it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from torch import Tensor, nn

from rnabench.model.defences.noise import SIGMA, InputNoise
from rnabench.model.defended import Undefended
from rnabench.path.choice import choice_layers, use_choices
from rnabench.settings.parts import defence

VOTES = 8


class Smoothed(nn.Sequential):
    """(noise and normalisation, network). In training mode one draw of noise; in evaluation mode the logarithm of the
    mean of the probabilities over `votes` draws, which is differentiable (Salman et al. 2019), where the paper counts
    classes: the study `certify` does."""

    votes = VOTES

    def forward(self, input: Tensor) -> Tensor:
        if self.training or self.votes == 1:
            logits: Tensor = super().forward(input)  # type: ignore[no-untyped-call]
            return logits
        (noise, normalization), network = cast(nn.Sequential, self[0]), self[1]
        copies = noise(input, self.votes)
        # a choice for each image inside of the network is one for each of its copies
        inside = {layer.key.number: layer.chosen() for layer in choice_layers(network).values()}
        with use_choices({key: choice.repeat_interleave(self.votes) for key, choice in inside.items()
                          if isinstance(choice, Tensor) and len(choice) > 1}):
            votes = network(normalization(copies)).float().log_softmax(1).unflatten(0, (-1, self.votes))
        result: Tensor = votes.logsumexp(1) - math.log(self.votes)
        return result


@contextmanager
def one_draw(network: nn.Module) -> Iterator[None]:
    """Inside the block the network predicts by one draw of noise in evaluation mode too, if usually several vote."""
    smoothed = [module for module in network.modules() if isinstance(module, Smoothed)]
    before = [module.votes for module in smoothed]
    try:
        for module in smoothed:
            module.votes = 1
        yield
    finally:
        for module, votes in zip(smoothed, before, strict=True):
            module.votes = votes


@defence("smoothing", SIGMA)
def smoothing(parts: Undefended, sigma: float) -> nn.Sequential:
    """A forward pass in evaluation mode costs VOTES passes; its path has one seed for all of them."""
    return Smoothed(nn.Sequential(InputNoise(sigma), parts.normalization), parts.network)
