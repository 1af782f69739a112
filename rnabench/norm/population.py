"""Statistics of a whole data set, exactly, in the place of the running averages that a batch normalisation trains with.

All batches go through the network once, each normalised by its own statistics as in training; a layer's mean and
variance over all images follow from those of the batches by the law of total variance, whatever their sizes (PreciseBN
of Wu and Johnson, 2021). They are exact for what the layer saw. Only behind the first layer does that depend, a little,
on which images were in a batch together: batches should be large and mixed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from rnabench.norm.layers import Norm, frozen_statistics, norm_layers
from rnabench.norm.statistics import sample_statistics

PopulationStatistics = dict[str, Tensor]
"""By layer: float64 [2, groups], means and (biased) variances."""


class Moments:
    """Mean and biased variance [groups], in float64, of all activations that were added."""

    def __init__(self, groups: int) -> None:
        self.groups, self.images = groups, 0
        self.mean = self.var = torch.zeros(groups, dtype=torch.float64)

    def add(self, x: Tensor) -> None:
        """Take in activations [N, C, H, W]; H and W are those of all others."""
        found = sample_statistics(x, {"mean", "var"}).by_group(self.groups, over_batch=True)
        mean, var = found["mean"][0].double(), found["var"][0].double()
        self.images += len(x)
        share = len(x) / self.images
        apart = mean - self.mean.to(mean.device)
        within = torch.lerp(self.var.to(var.device), var, share)
        self.mean, self.var = mean - (1 - share) * apart, within + share * (1 - share) * apart.square()


def batch_norms(network: nn.Module) -> dict[str, Norm]:
    """The layers, by name, that normalise by mean and variance of the batch in training and by running ones at
    inference: batch normalisations, of any grouping. Of a mixture, the branch at work."""
    return {name: layer.active for name, layer in norm_layers(network).items() if _is_batch_norm(layer.active)}


def has_other_batch_statistics(network: nn.Module) -> bool:
    """Whether some layer uses statistics of batches, or averages of them, in another way than batch normalisation."""
    return any(not _is_batch_norm(layer.active) and any(source != "sample" for pair in layer.active.sources.values()
                                                        for source in pair) for layer in norm_layers(network).values())


def _is_batch_norm(layer: Norm) -> bool:
    return layer.sources == {"mean": ("batch", "running"), "var": ("batch", "running")}


@torch.no_grad()
def population_statistics(network: nn.Module, batches: Iterable[Tensor]) -> PopulationStatistics:
    """The statistics of all batch normalisations over these images [N, 3, H, W], of one size, two or more per batch.

    The network is left as it was, its running statistics too; everything else in it works in the mode that it is in.
    """
    layers = batch_norms(network)
    moments = {name: Moments(layer.groups) for name, layer in layers.items()}
    hooks = [layer.register_forward_pre_hook(lambda _, inputs, name=name: moments[name].add(inputs[0]))  # type: ignore[misc]
             for name, layer in layers.items()]
    try:
        with frozen_statistics(network), _in_training(layers):
            for images in batches:
                network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.stack([each.mean, each.var]) for name, each in moments.items()}


def set_statistics(network: nn.Module, statistics: Mapping[str, Tensor]) -> None:
    """Put these in the place of the running statistics of the layers that they name."""
    layers = batch_norms(network)
    for name, (mean, var) in statistics.items():
        for target, value in ((layers[name].running_mean, mean), (layers[name].running_var, var)):
            assert isinstance(target, Tensor)
            target.copy_(value)


@contextmanager
def _in_training(layers: Mapping[str, Norm]) -> Iterator[None]:
    """These layers alone in training mode."""
    before = {layer: layer.training for layer in layers.values()}
    try:
        for layer in before:
            layer.train()
        yield
    finally:
        for layer, mode in before.items():
            layer.train(mode)
