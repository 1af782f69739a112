"""`rnabench smoothness`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

from rnabench.cli import options as o
from rnabench.cli import study as s


def smoothness(
    runs: s.Runs = None,
    among: s.Among = Path("runs"),
    dataset: o.DatasetOrNone = None,
    data_dir: o.DataDir = None,
    dataset_name: o.DatasetName = None,
    download: o.Download = False,
    n_examples: o.NExamples = None,
    indices: s.Indices = None,
    norm: o.NormOption = o.Norm.linf,
    eps: o.Eps = "8/255",
    radius: Annotated[Optional[float], o.option("Euclidean length, in pixel values, up to which the loss is "
                                                "looked at.  [default: the longest change within --eps]",
                                                o.ATTACK)] = None,
    lengths: Annotated[int, o.option("Steps along the gradient up to that length.", o.ATTACK)] = 8,
    paths: Annotated[str, o.option("Which paths of a randomised network to look at one by one, besides the mean over "
                                   "paths: one per normaliser (normalisers), a number of random ones, or none "
                                   "(deployed).", o.MODEL)] = "normalisers",
    samples: Annotated[int, o.option("Paths in the mean over paths of a randomised network.", o.MODEL)] = 10,
    surfaces: Annotated[int, o.option("Loss surfaces around so many of the first images.", o.DATA)] = 2,
    points: Annotated[int, o.option("Points per side of a surface (odd).", o.DATA)] = 21,
    batch_size: o.BatchSize = 128,
    device: o.Device = "auto",
    precision: o.PrecisionOption = o.Precision.fp32,
    seed: o.Seed = 0,
    resume: s.Resume = True,
    max_minutes: o.MaxMinutes = None,
    out: s.Out = None,
) -> None:
    """Smoothness of the loss around test images: surfaces, gradient norm and curvature, and eq. 5 by layer (Figure 2).

    Writes smoothness.json (with what every image did), .csv, .md, .png and .svg. Ctrl-C stops cleanly; the same command
    goes on.
    """
    values = {
        "norm": norm.value, "eps": eps, "n_examples": n_examples, "indices": indices, "batch_size": batch_size,
        "precision": precision.value, "seed": seed, "radius": radius, "lengths": lengths, "paths": paths,
        "samples": samples, "surfaces": surfaces, "points": points,
    }
    data = s.data_keys(dataset, data_dir, dataset_name, download)
    s.study("smoothness", runs, among, values, data, device, resume, max_minutes, out)
