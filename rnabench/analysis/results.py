"""What the results of several studies have in common."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnabench.data.batches import Batch
from rnabench.study_plan import StudyKeys

Results = dict[str, Any]
"""JSON."""


def longest(keys: StudyKeys, batch: Batch) -> float:
    """The Euclidean length of the longest change that the threat model allows."""
    return keys.eps * (math.sqrt(batch.images[0].numel()) if keys.norm == "Linf" else 1.0)


def spread(values: NDArray[Any]) -> Results:
    """Mean, its standard error over images, and quantiles of what is a number; how much is none (a zero gradient)."""
    known = values[~np.isnan(values)]
    per_image = values if values.ndim == 1 else np.nanmean(values, axis=tuple(range(1, values.ndim)))
    per_image = per_image[~np.isnan(per_image)]
    if not len(known):
        return {"mean": None, "error": None, "quantiles": None, "undefined": int(values.size)}
    error = float(per_image.std(ddof=1) / math.sqrt(len(per_image))) if len(per_image) > 1 else math.nan
    return {"mean": float(known.mean()), "error": error if error == error else None,
            "quantiles": np.quantile(known, [0.05, 0.25, 0.5, 0.75, 0.95]).tolist(),
            "undefined": int(values.size - known.size)}


def short(values: NDArray[Any]) -> list[float | None]:
    return [None if np.isnan(value) else float(f"{value:.5g}") for value in values.ravel()]
