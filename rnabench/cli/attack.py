"""`rnabench attack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from rnabench.cli import options as o


def attack(
    run: Annotated[Optional[Path], typer.Argument(help="Run folder, as written by `rnabench train`.")] = None,
    model: Annotated[Optional[str], o.option("Anybody's network instead of a run: package.module:factory.", o.MODEL)
                     ] = None,
    dataset: o.DatasetOrNone = None,
    data_dir: o.DataDir = None,
    dataset_name: o.DatasetName = None,
    download: o.Download = False,
    n_examples: o.NExamples = None,
    suite: Annotated[str, o.option("Which attacks under which protocols: quick.", o.ATTACK)] = "quick",
    attacks: Annotated[Optional[str], o.option("Attacks instead of the suite's, comma-separated: fgsm,pgd20.",
                                               o.ATTACK)] = None,
    protocols: Annotated[Optional[str], o.option("Protocols instead of the suite's, comma-separated: paper, same-path, "
                                                 "resample, eot:K.", o.ATTACK)] = None,
    eps: o.Eps = "8/255",
    step_size: o.StepSize = None,
    steps: o.AttackSteps = None,
    draws: o.Draws = 20,
    granularity: o.GranularityOption = o.Granularity.batch,
    batch_size: o.BatchSize = 128,
    device: o.Device = "auto",
    precision: o.PrecisionOption = o.Precision.fp32,
    seed: o.Seed = 0,
    max_minutes: o.MaxMinutes = None,
    out: Annotated[Optional[Path], o.option("Folder of the results.  [default: <run>/attack-<suite>-<digest>]", o.RUN)
                   ] = None,
) -> None:
    """Attack a trained network under the paper's protocol and an adaptive one, and score it on fresh paths.

    Writes record.json (with per-example outcomes), table.csv and table.md. Ctrl-C stops cleanly; the same command
    goes on.
    """
    values: dict[str, Any] = {
        "suite": suite, "attacks": attacks and attacks.split(","), "protocols": protocols and protocols.split(","),
        "eps": eps, "step_size": step_size, "steps": steps, "n_examples": n_examples, "draws": draws,
        "granularity": granularity.value, "batch_size": batch_size, "precision": precision.value, "seed": seed,
    }

    from rnabench.errors import InvalidValue
    from rnabench.recipe import DataKeys, EvaluationKeys, from_options

    keys = from_options(EvaluationKeys, values)
    if (run is None) == (model is None):
        raise InvalidValue("RUN", str(run) if run else None, "either a run folder or --model package.module:factory")
    given = {"dataset": dataset, "data_dir": data_dir, "dataset_name": dataset_name, "download": download or None}
    data = {name: value for name, value in given.items() if value is not None}

    from rnabench.benchmark import attack as run_attack
    from rnabench.benchmark import identity, load_foreign, load_run
    from rnabench.cli.console import LiveProgress
    from rnabench.cli.limits import stop_request
    from rnabench.cli.results import finish

    target = (load_run(run, data, keys, device) if run is not None
              else load_foreign(str(model), from_options(DataKeys, data), keys, device))
    name = f"attack-{keys.suite}-{identity(target, keys)}"
    folder = out or (run / name if run is not None else Path("runs") / f"{str(model).replace(':', '-')}-{name}")
    with stop_request(max_minutes) as stop, LiveProgress() as progress:
        if not target.description.get("replayable", True):
            progress.line("warning: this model draws random numbers that torch's seed does not fix: its draws cannot "
                          "be frozen or replayed, and `paper` and `same-path` act as `resample`")
        record = run_attack(target, keys, folder / "record.json", progress, stop)
    finish([record], folder, f"Robustness of {target.description['label']}")
