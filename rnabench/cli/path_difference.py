"""`rnabench path-difference`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rnabench.cli import options as o
from rnabench.cli import study as s


def path_difference(
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
    pairs: Annotated[int, o.option("Pairs of paths at every difference.", o.ATTACK)] = 10,
    batch_size: o.BatchSize = 128,
    device: o.Device = "auto",
    precision: o.PrecisionOption = o.Precision.fp32,
    seed: o.Seed = 0,
    resume: s.Resume = True,
    max_minutes: o.MaxMinutes = None,
    out: s.Out = None,
) -> None:
    """Attack one path of a randomised network and predict with others, by the number of layers in which they differ
    (Figure 5 c).

    Writes path-difference.json (with what every image did), .csv, .md, .png and .svg. Ctrl-C stops cleanly; the same
    command goes on.
    """
    values = {
        "attack": attack, "norm": norm.value, "eps": eps, "step_size": step_size, "n_examples": n_examples,
        "indices": indices, "batch_size": batch_size, "precision": precision.value, "seed": seed,
        "pairs": pairs,
    }
    data = s.data_keys(dataset, data_dir, dataset_name, download)
    s.study("path-difference", runs, among, values, data, device, resume, max_minutes, out)
