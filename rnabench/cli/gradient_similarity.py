"""`rnabench gradient-similarity`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rnabench.cli import options as o
from rnabench.cli import study as s


def gradient_similarity(
    runs: s.Runs = None,
    among: s.Among = Path("runs"),
    dataset: o.DatasetOrNone = None,
    data_dir: o.DataDir = None,
    dataset_name: o.DatasetName = None,
    download: o.Download = False,
    n_examples: o.NExamples = None,
    indices: s.Indices = None,
    paths: s.PathsOption = "deployed",
    by_difference: Annotated[bool, o.option("Between pairs of paths of each network, by path difference, instead of "
                                            "between networks.", o.MODEL)] = False,
    pairs: Annotated[int, o.option("Pairs of paths at every difference.", o.MODEL)] = 10,
    batch_size: o.BatchSize = 128,
    device: o.Device = "auto",
    precision: o.PrecisionOption = o.Precision.fp32,
    seed: o.Seed = 0,
    resume: s.Resume = True,
    max_minutes: o.MaxMinutes = None,
    out: s.Out = None,
) -> None:
    """Cosines between the input gradients of networks, or of the paths of one (Figure 3).

    Writes gradient-similarity.json (with what every image did), .csv, .md, .png and .svg. Ctrl-C stops cleanly; the
    same command goes on.
    """
    values = {
        "n_examples": n_examples, "indices": indices, "batch_size": batch_size, "precision": precision.value,
        "seed": seed, "paths": paths, "by_difference": by_difference, "pairs": pairs,
    }
    data = s.data_keys(dataset, data_dir, dataset_name, download)
    s.study("gradient-similarity", runs, among, values, data, device, resume, max_minutes, out)
