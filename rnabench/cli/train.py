"""`rnabench train`, `describe` and `bench`: networks as the settings of training say them."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Optional

from rnabench.cli import options as o
from rnabench.cli.answer import Answer
from rnabench.cli.options import Change, given, only

if TYPE_CHECKING:
    from rnabench.settings.deployment import Deployment
    from rnabench.settings.training import TrainingSettings


def train(
    settings: TrainingSettings,
    device: o.Device = "auto",
    refresh: o.Refresh = False,
    max_minutes: o.MaxMinutes = None,
    log: o.Log = None,
    teacher: Annotated[Optional[Path], o.option("Run folder of a trained network of one path, whose predicted "
                                                "probabilities are learnt beside the labels (objective sors).",
                                                o.TRAINING)] = None,
    out: Annotated[Optional[Path], o.option("Run folder.  [default: runs/<data>-<arch>-<space>-<digest>]", o.RUN)
                   ] = None,
) -> Answer:
    """Train a network with a space of normalisers, adversarially by default.

    Writes model.safetensors, run.json and log.csv. Ctrl-C stops cleanly; the same command goes on. On several GPUs:
    torchrun --nproc-per-node 4 -m rnabench train ...
    """
    from rnabench.cli.console import LiveProgress, console, stop_request
    from rnabench.jobs.teacher import with_teacher
    from rnabench.jobs.train import run_name, train
    from rnabench.runtime.progress import Silent
    from rnabench.runtime.ranks import launched_ranks
    from rnabench.runtime.watch import check_loggers
    from rnabench.settings.pixels import written

    check_loggers(log or ())
    if teacher is not None:
        settings = with_teacher(settings, teacher)
    folder = out or Path("runs") / run_name(settings)
    with launched_ranks(device) as ranks, stop_request(max_minutes) as stop, (
            LiveProgress() if ranks.first else nullcontext(Silent())) as progress:
        run = train(settings, folder, progress, stop, ranks.device or device, refresh, teacher, log or (), ranks)
    if not ranks.first:
        return {}  # the first one tells
    chosen = run["selected"]
    held_out = "nothing held out" if "holdout_pgd" not in chosen else (
        f"held-out natural {chosen['holdout_natural']:.1%}, PGD-{settings.steps} {chosen['holdout_pgd']:.1%}")
    kept = f"epoch {chosen['epoch']} kept ({chosen['by']}), {held_out}" if "epoch" in chosen else "weights as given"
    console().print(f"{folder}: {kept}")
    console().print(f"next: rnabench attack {quote(str(folder))} --eps {written(settings.eps)}")
    return {"run": folder} | {name: run.get(name) for name in ("status", "selected", "model", "digest",
                                                               "weights_sha256", "teacher")}


def describe(
    data: Annotated[dict[str, Any], given("DataSettings", "dataset")],
    settings: Annotated[TrainingSettings, only("arch", "width", "operators", "space", "activation", "denoise",
                                               "denoise_at", "defence", "layer_based")],
    deployment: Deployment,
) -> Answer:
    """Show a network: its choice layers, their options, the number of paths, parameters, and clipped groups."""
    from rnabench.settings.datasets import DATASETS

    DATASETS.get(data["dataset"])

    from rnabench.cli.console import console, show_table
    from rnabench.jobs.describe import describe_network

    network = describe_network(settings, data["dataset"], deployment)
    out = console()
    if network.rows:
        show_table(network.title, network.headings, network.rows, network.text_columns)
    else:
        out.print(network.title)
    for line in network.lines:
        out.print(line)
    return network.document


def bench(
    settings: Annotated[TrainingSettings, only("arch", "width", "operators", "space", "activation", "denoise",
                                               "denoise_at", "defence", "steps", "precision", "compile", "seed",
                                               batch_size=Change(default=32))],
    device: o.Device = "auto",
    repeats: Annotated[int, o.option("Rounds; each measures every case once.", o.RUN)] = 3,
    formats: Annotated[o.Texts, o.option("Number formats to compare, such as fp32,bf16; instead of --precision.",
                                         o.RUN)] = None,
    cases: Annotated[o.Texts, o.option("Of the cases those with one of these texts in their names, comma-separated, "
                                       "such as captured,PGD.  [default: all]", o.RUN)] = None,
    against: Annotated[Optional[Path], o.option("Compare the ratios with those of an earlier bench.json.",
                                                o.RUN)] = None,
    out: Annotated[Optional[Path], o.option("Also write bench.json and bench.md there.", o.RUN)] = None,
) -> Answer:
    """Measure training steps, PGD, APGD and averaged gradients on this machine, beside a textbook training step."""
    from rnabench.report.bench import display_rows, headings, lines, read_bench, write_bench

    other = read_bench(against) if against else None

    from rnabench.cli.console import LiveProgress, console, show_table
    from rnabench.jobs.bench import measure

    with LiveProgress() as progress:
        result = measure(settings, repeats, device, progress, formats or (), cases or ())
    show_table(result["title"], headings(other is not None), display_rows(result, other), text_columns=2)
    for line in lines(result):
        console().print(line)
    if out is not None:
        write_bench(result, out, other)
    return result
