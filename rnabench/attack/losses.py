"""Losses that attacks maximise, one value per example: logits [..., N, C] and labels int64 [N] to [..., N]."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from rnabench.errors import InvalidValue

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    flat = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), _spread(logits, labels).reshape(-1), reduction="none")
    return flat.view(logits.shape[:-1])


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The largest wrong logit less the right one (Carlini and Wagner): positive exactly where misclassified."""
    return _wrong(logits, labels).amax(-1) - _at(logits, labels)


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """Difference of logits ratio (Croce and Hein 2020, eq. 6): the margin over the gap between the first and the third
    logit, so that rescaling the logits changes nothing. Needs 3 classes."""
    _need(logits, 3, "dlr")
    top = logits.topk(3, dim=-1).values
    return margin(logits, labels) / (top[..., 0] - top[..., 2] + 1e-12)


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The same towards `targets` int64 [N] (eq. 7). Needs 4 classes."""
    _need(logits, 4, "targeted dlr")
    top = logits.topk(4, dim=-1).values
    gap = top[..., 0] - (top[..., 2] + top[..., 3]) / 2
    return (_at(logits, targets) - _at(logits, labels)) / (gap + 1e-12)


LOSSES: dict[str, Loss] = {"ce": cross_entropy, "margin": margin, "dlr": dlr}


def _spread(logits: Tensor, labels: Tensor) -> Tensor:
    return labels.expand(logits.shape[:-1])


def _at(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(-1, _spread(logits, classes).unsqueeze(-1)).squeeze(-1)


def _wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """The logits with the right class's at minus infinity."""
    return logits.scatter(-1, _spread(logits, labels).unsqueeze(-1), -torch.inf)


def _need(logits: Tensor, classes: int, loss: str) -> None:
    if logits.shape[-1] < classes:
        raise InvalidValue("loss", loss, f"at least {classes} classes for this loss, or ce or margin", ("ce", "margin"))
