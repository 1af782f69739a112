"""What may be averaged over draws in the place of their losses: predictions, which one loss then judges together."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from rnabench.settings.protocols import Average

Fusion = Callable[[Tensor], Tensor]
"""Logits of K draws [K, n, classes] to those of the one prediction that they make together, [n, classes]."""


def mean_logits(drawn: Tensor) -> Tensor:
    """The mean of the logits."""
    return drawn.mean(0)


def mean_probabilities(drawn: Tensor) -> Tensor:
    """The logarithm of the mean of the probabilities: of a single draw, its logits less a constant, which no loss
    notices."""
    return drawn.log_softmax(-1).logsumexp(0) - math.log(len(drawn))


FUSIONS: dict[Average, Fusion | None] = {"losses": None, "probabilities": mean_probabilities, "logits": mean_logits}
