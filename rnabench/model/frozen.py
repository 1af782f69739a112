"""One path of a randomised network as a deterministic network of torch's own layers: what can leave this package."""

from __future__ import annotations

import copy

from torch import nn

from rnabench.errors import InvalidValue
from rnabench.model.classifier import RandomizedClassifier
from rnabench.norm.layers import EPS, BatchGroupNorm, GroupNorm, Norm
from rnabench.path.choice import choice_layers, use_path
from rnabench.path.path import Path


def frozen(model: RandomizedClassifier, path: Path) -> nn.Module:
    """A network in eval mode, [0, 1] images [N, 3, H, W] to logits: `model.eval().on(path)` to float precision.

    It shares no tensor with `model`. Raises InvalidValue for a path that does not fit or has several rows.
    """
    if path.per_sample:
        raise InvalidValue("path", f"{len(path.rows)} rows", "1 row")
    chosen: dict[str, nn.Module] = {}
    with use_path(model, path):
        for name, layer in choice_layers(model.network).items():
            assert isinstance(layer.current, int)
            chosen[name] = layer.options[layer.current]
    network = copy.deepcopy(model.network)
    for name, option in chosen.items():
        network.set_submodule(name, _plain(option))
    for name, module in list(network.named_modules()):
        if isinstance(module, Norm):  # outside of choice layers
            network.set_submodule(name, _plain(module))
    return network.eval()


def _plain(norm: nn.Module) -> nn.Module:
    """The layer of torch that computes the same at inference."""
    if not isinstance(norm, GroupNorm | BatchGroupNorm):
        raise InvalidValue("layer", type(norm).__name__, "a GroupNorm or BatchGroupNorm to export")
    state = norm.state_dict()
    plain: nn.Module = nn.GroupNorm(norm.groups, norm.channels, EPS, affine=norm.affine)
    if isinstance(norm, BatchGroupNorm):
        plain = nn.BatchNorm2d(norm.channels, EPS)
        for name in ("running_mean", "running_var"):
            state[name] = state[name].repeat_interleave(norm.group_size)
    plain.to(norm.weight).load_state_dict(state)
    return plain
