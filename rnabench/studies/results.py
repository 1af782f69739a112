"""What the results of several studies have in common."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnabench.data.batches import Batch
from rnabench.settings.studies import StudySettings

Results = dict[str, Any]
"""JSON."""


def longest(keys: StudySettings, batch: Batch, eps: float) -> float:
    """The Euclidean length of the longest change within `eps` of the norm."""
    return eps * (math.sqrt(batch.images[0].numel()) if keys.norm == "Linf" else 1.0)


def spread(values: NDArray[Any]) -> Results:
    """Mean, its standard error over images, and quantiles of what is a number; how much is none (a zero gradient)."""
    known = values[~np.isnan(values)]
    flat = values.reshape(len(values), -1)
    counts = (~np.isnan(flat)).sum(1)
    per_image = np.nansum(flat, axis=1)[counts > 0] / counts[counts > 0]
    if not len(known):
        return {"mean": None, "error": None, "quantiles": None, "undefined": int(values.size)}
    error = float(per_image.std(ddof=1) / math.sqrt(len(per_image))) if len(per_image) > 1 else math.nan
    return {"mean": float(known.mean()), "error": error if error == error else None,
            "quantiles": np.quantile(known, [0.05, 0.25, 0.5, 0.75, 0.95]).tolist(),
            "undefined": int(values.size - known.size)}


def short(values: NDArray[Any]) -> list[float | None]:
    return [None if np.isnan(value) else float(f"{value:.5g}") for value in values.ravel()]
