"""Whether networks take images of the sizes that attacks show them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from rnabench.data.batches import BatchSource, first_images
from rnabench.defence.defence import Defence
from rnabench.errors import InvalidValue
from rnabench.runtime.device import memory_ran_out
from rnabench.settings.attacks import AttackSpec


def check_sizes(defence: Defence, specs: Sequence[AttackSpec], source: BatchSource, name: str = "this network") -> None:
    """Ask about an image of `source` in the largest size of each attack that shows others than `source` has.

    Raises InvalidValue for an attack whose images the network, which a message calls `name`, does not take.
    """
    (images,) = [batch.images for batch in first_images(source, 1, 1)]
    height, width = images.shape[2:]
    for spec in specs:
        larger = spec.parameters.largest_side(height)
        if larger == height:
            continue
        if not takes(defence, F.interpolate(images, size=(larger, (width * larger + height // 2) // height))):
            raise InvalidValue("attack", spec.name, f"mode shrink: {name} takes images of {height} pixels, and not the "
                                                    f"{larger} of mode grow")


def takes(defence: Defence, images: Tensor) -> bool:
    """Whether the network has logits for images [N, C, H, W]."""
    path = defence.space.sample(torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            defence.on(path)(images)
    except (RuntimeError, ValueError, IndexError) as error:
        if isinstance(error, RuntimeError) and memory_ran_out(error):
            raise
        return False
    return True
