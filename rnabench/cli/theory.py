"""`rnabench theory`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

from rnabench.cli import options as o
from rnabench.cli import study as s


def theory(
    runs: s.Runs = None,
    among: s.Among = Path("runs"),
    dataset: o.DatasetOrNone = None,
    data_dir: o.DataDir = None,
    dataset_name: o.DatasetName = None,
    download: o.Download = False,
    n_examples: o.NExamples = None,
    indices: s.Indices = None,
    attack: s.AttackName = "pgd7",
    norm: o.NormOption = o.Norm.linf,
    eps: o.Eps = "8/255",
    step_size: o.StepSize = None,
    radius: Annotated[Optional[float], o.option("Euclidean length, in pixel values, up to which the loss is "
                                                "looked at.  [default: the longest change within --eps]",
                                                o.ATTACK)] = None,
    lengths: Annotated[int, o.option("Steps along the gradient up to that length.", o.ATTACK)] = 8,
    paths: s.PathsOption = "normalisers",
    batch_size: o.BatchSize = 128,
    device: o.Device = "auto",
    precision: o.PrecisionOption = o.Precision.fp32,
    seed: o.Seed = 0,
    resume: s.Resume = True,
    max_minutes: o.MaxMinutes = None,
    out: s.Out = None,
) -> None:
    """The terms of Theorem 3.1's bound for every pair of networks, beside the measured transfer.

    Writes theory.json (with what every image did), .csv, .md, .png and .svg. Ctrl-C stops cleanly; the same command
    goes on.
    """
    values = {
        "attack": attack, "norm": norm.value, "eps": eps, "step_size": step_size, "n_examples": n_examples,
        "indices": indices, "batch_size": batch_size, "precision": precision.value, "seed": seed,
        "radius": radius, "lengths": lengths, "paths": paths,
    }
    data = s.data_keys(dataset, data_dir, dataset_name, download)
    s.study("theory", runs, among, values, data, device, resume, max_minutes, out)
