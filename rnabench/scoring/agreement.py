"""Agreement between draws: how often two draws of a randomised network predict the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def agreement(predictions: NDArray[Any]) -> NDArray[np.float64]:
    """Of the classes predicted for N images on D draws, [N, D], the share of the D (D - 1) / 2 pairs of draws that
    predict the same, [N]: sum over classes of n (n - 1) / (D (D - 1)) where a class has n votes. It estimates without
    bias how often two fresh draws agree. A single draw, of what draws nothing, agrees with itself: 1."""
    images, draws = predictions.shape
    if draws == 1:
        return np.ones(images)
    votes = (predictions[:, :, None] == predictions[:, None, :]).sum(2)  # for each draw, how many predict the same
    return np.asarray((votes - 1).sum(1) / (draws * (draws - 1)))
