"""A corruption: a function of images, and how strong it is at severities 1 to 5. `--corruption rain:3` names it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnabench.settings.corruptions import corruption


@corruption("rain", 0.02, 0.04, 0.06, 0.08, 0.1)
def rain(images: NDArray[np.float64], share: float, numbers: Any) -> NDArray[np.float64]:
    """White columns of pixels, a share of them all, other ones in every image."""
    falls = numbers.uniform(1, 1, images.shape[3]) < share  # [N, 1, 1, W], each example's own random numbers
    return np.where(falls, 1.0, images)
