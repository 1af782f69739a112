"""A trained network as it is used at inference: other branches and statistics, several paths at once, the same weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from rnabench.errors import InvalidValue
from rnabench.model.classifier import RandomizedClassifier
from rnabench.norm.choice import NormChoice
from rnabench.norm.layers import Norm, norm_layers
from rnabench.norm.mixture import MixtureBatchNorm, mixtures
from rnabench.settings.deployment import Deployment, StatisticsFrom

M = TypeVar("M", bound=nn.Module)


def deploy(model: RandomizedClassifier, deployment: Deployment, name: str = "this network") -> RandomizedClassifier:
    """The classifier that is used so, in the mode of `model`, which stays as it is; by default it is `model` itself.

    All parameters and buffers are those of `model`, which a change of either changes; `model` goes to its device first,
    since that makes buffers anew. Errors call it by its `name`. Raises InvalidValue for a branch, statistics or an
    average that it cannot have.
    """
    if not deployment.changes():
        return model
    if deployment.statistics != "own" and not any(map(_of_batches, norm_layers(model.network).values())):
        raise InvalidValue("statistics", deployment.statistics,
                           f"own: no normaliser of {name} has statistics of batches")
    if deployment.branches and not mixtures(model.network):
        raise InvalidValue("branch", deployment.branch, f"own: no normaliser of {name} has branches (space mbn)")
    network = _sharing(model.network)
    if len(deployment.branches) == 1:
        for mixture in mixtures(network):
            mixture.branch = deployment.branches[0]
    elif deployment.branches:
        _choose(network, lambda norm: _branches(norm, deployment.branches))
    if len(deployment.sources) == 1:
        _take(network, deployment.sources[0])
    else:
        _choose(network, lambda norm: _views(norm, deployment.sources))
    deployed = _classifier(network, model)
    if deployment.average == 1:
        return deployed
    if model.layer_based or not deployed.space.is_random:
        why = "has a single path" if not deployed.space.is_random else "makes one draw for all layers (layer-based)"
        raise InvalidValue("average", deployment.average, f"1: {name} {why}")
    return _classifier(PathAverage(network, deployment.average), model)


class PathAverage(nn.Module):
    """The mean of the logits of several copies of a network, which share all tensors and whose choice layers are each
    one's own: a path through it is one through each copy (SORS* and RS* of the SORS paper)."""

    def __init__(self, network: nn.Module, copies: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList([network, *(_sharing(network) for _ in range(copies - 1))])

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([part(x) for part in self.parts]).mean(0)


def _classifier(network: nn.Module, like: RandomizedClassifier) -> RandomizedClassifier:
    classifier = RandomizedClassifier(network, granularity=like.granularity, layer_based=like.layer_based)
    classifier.precision, classifier.tensor_paths = like.precision, like.tensor_paths
    classifier.generator.set_state(like.generator.get_state())
    return classifier.train(like.training)


def _sharing(module: M) -> M:
    """A copy of the modules, with the same tensors in them."""
    return copy.deepcopy(module, {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())})


def _of_batches(norm: nn.Module) -> bool:
    """Whether it, or a branch of it, has statistics of batches in training."""
    return any(part.tracked for part in norm.modules() if isinstance(part, Norm))


def _take(module: M, source: StatisticsFrom) -> M:
    for part in module.modules():
        if isinstance(part, Norm):
            part.take_statistics(source)
    return module


Options = dict[str, nn.Module]


def _choose(module: nn.Module, options_of: Callable[[Norm], Options]) -> None:
    """Put a choice where a normaliser has several options; those of a choice of norms become more. A normaliser with no
    options stays as it is."""
    for name, child in module.named_children():
        if isinstance(child, NormChoice):
            views: Options = {}
            for label, option in zip(child.names, child.options, strict=True):
                options = options_of(cast(Norm, option))
                views |= {f"{label}:{each}": view for each, view in options.items()} or {label: option}
            setattr(module, name, NormChoice(views))
        elif not isinstance(child, Norm):
            _choose(child, options_of)
        elif options := options_of(child):
            setattr(module, name, NormChoice(options))


def _views(norm: Norm, sources: Sequence[StatisticsFrom]) -> Options:
    """The norm by statistics from each of the sources; none, if it has no statistics of batches."""
    return {source: _take(_sharing(norm), source) for source in sources} if _of_batches(norm) else {}


def _branches(norm: Norm, branches: Sequence[str]) -> Options:
    """These branches of a mixture; none of another norm."""
    return {branch: norm.norms[branch] for branch in branches} if isinstance(norm, MixtureBatchNorm) else {}
