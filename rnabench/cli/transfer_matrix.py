"""`rnabench transfer-matrix`."""

from __future__ import annotations

from pathlib import Path

from rnabench.cli import options as o
from rnabench.cli import study as s


def transfer_matrix(
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
    paths: s.PathsOption = "deployed",
    draws: o.Draws = 20,
    batch_size: o.BatchSize = 128,
    device: o.Device = "auto",
    precision: o.PrecisionOption = o.Precision.fp32,
    seed: o.Seed = 0,
    resume: s.Resume = True,
    max_minutes: o.MaxMinutes = None,
    out: s.Out = None,
) -> None:
    """Attack each network, and let every other one predict the images (Figure 1 c/d).

    Writes transfer-matrix.json (with what every image did), .csv, .md, .png and .svg. Ctrl-C stops cleanly; the same
    command goes on.
    """
    values = {
        "attack": attack, "norm": norm.value, "eps": eps, "step_size": step_size, "n_examples": n_examples,
        "indices": indices, "batch_size": batch_size, "precision": precision.value, "seed": seed,
        "paths": paths, "draws": draws,
    }
    data = s.data_keys(dataset, data_dir, dataset_name, download)
    s.study("transfer-matrix", runs, among, values, data, device, resume, max_minutes, out)
