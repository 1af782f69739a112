"""A second BN beside the first, with statistics, scale and shift of its own."""

from __future__ import annotations

from rnabench.norm.layers import BatchGroupNorm
from rnabench.settings.spaces import NORMS


@NORMS.register("bn-aux")
class SecondBatchNorm(BatchGroupNorm):
    """BN under another name, so that a space can have it twice: `bn+bn-aux` draws one of two BNs in every layer.

    A mixture BN has two as well. There the kind of image decides which is used, and here the path: each learns from
    all images that its draws bring it, adversarial ones too (Algorithm 1).
    """

    summary = "a second batch normalisation, to draw from beside bn"
    takes_groups = False
    spellings = ()
