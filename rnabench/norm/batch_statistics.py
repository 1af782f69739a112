"""BN by the statistics of the batch, in training and at inference."""

from __future__ import annotations

from rnabench.norm.layers import BatchGroupNorm
from rnabench.norm.statistics import take
from rnabench.settings.spaces import NORMS


@NORMS.register("bn-batch")
class BatchStatisticsNorm(BatchGroupNorm):
    """BN that normalises by the statistics of the batch at inference too, instead of those of clean training images.

    Its prediction for an image then depends on the image's batch mates, their number and their kind: evaluate it at one
    batch size, and say which. It keeps running statistics all the same, so that the weights of a BN serve it.
    """

    summary = "batch normalisation without running statistics at inference"
    sources = take("mean", "var", of="batch")
    takes_groups = False
    spellings = ()
    family = None
