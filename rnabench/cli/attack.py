"""`rnabench attack`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from rnabench.cli import options as o


class Backend(str, Enum):
    native = "native"
    torchattacks = "torchattacks"


def attack(
    run: Annotated[Optional[Path], typer.Argument(help="Run folder, as written by `rnabench train`.")] = None,
    model: Annotated[Optional[str], o.option("Anybody's network instead of a run: package.module:factory.", o.MODEL)
                     ] = None,
    baseline: Annotated[Optional[Path], o.option("Record (JSON) of the deterministic baseline on the same images, to "
                                                 "compare with.", o.MODEL)] = None,
    transfer_from: Annotated[Optional[Path], o.option(
        "Run folder: the sanity checks also attack with images made on its network by PGD-20.", o.MODEL)] = None,
    dataset: o.DatasetOrNone = None,
    data_dir: o.DataDir = None,
    dataset_name: o.DatasetName = None,
    download: o.Download = False,
    n_examples: o.NExamples = None,
    indices: Annotated[Optional[str], o.option("Test images by index, such as 0-99,250.  [default: --n-examples]",
                                               o.DATA)] = None,
    suite: Annotated[str, o.option("Which attacks under which protocols; several joined by +, as in paper+adaptive "
                                   "(see --list).", o.ATTACK)] = "quick",
    attacks: Annotated[Optional[str], o.option("Attacks instead of the suite's, comma-separated: fgsm,pgd20,apgd-ce "
                                               "(see --list).", o.ATTACK)] = None,
    protocols: Annotated[Optional[str], o.option("Protocols instead of the suite's, comma-separated: paper, same-path, "
                                                 "resample, eot:K.", o.ATTACK)] = None,
    list_: Annotated[bool, o.option("List suites, attacks and protocols, and stop.", o.ATTACK, "--list")] = False,
    norm: o.NormOption = o.Norm.linf,
    eps: o.Eps = "8/255",
    step_size: o.StepSize = None,
    steps: o.AttackSteps = None,
    backend: Annotated[Backend, o.option("torchattacks: the paper's own calls, for cross-checks.", o.ATTACK)
                       ] = Backend.native,
    cumulative: Annotated[bool, o.option("Drop images that are broken already from later bounded attacks "
                                         "(deterministic models).", o.ATTACK)] = False,
    draws: o.Draws = 20,
    granularity: Annotated[o.Granularity, o.option(
        "One draw per group of images, of which there are --attack-paths, or one per sample.", o.ATTACK)
        ] = o.Granularity.batch,
    attack_paths: Annotated[int, o.option("Groups of images that share their draws of paths (granularity batch), as "
                                          "batches do in the paper: so many frozen paths are attacked.", o.ATTACK)
                            ] = 16,
    sanity: Annotated[bool, o.option("Run what the sanity checks need on some of the images.", o.ATTACK)] = True,
    sanity_examples: Annotated[int, o.option("Images for these.", o.ATTACK)] = 64,
    batch_size: o.BatchSize = 128,
    device: o.Device = "auto",
    precision: o.PrecisionOption = o.Precision.fp32,
    seed: o.Seed = 0,
    resume: Annotated[bool, o.option("Go on with what is there, or start anew.", o.RUN)] = True,
    max_minutes: o.MaxMinutes = None,
    out: Annotated[Optional[Path], o.option("Folder of the results.  [default: <run>/attack-<suite>-<digest>]", o.RUN)
                   ] = None,
) -> None:
    """Attack a trained network under the paper's protocol and an adaptive one, and score it on fresh paths.

    Writes record.json (with per-example outcomes), table.csv, table.md and the figures of sweeps. Ctrl-C stops
    cleanly; the same command goes on.
    """
    if list_:
        from rnabench.cli.listing import show_lists

        show_lists()
        return
    values: dict[str, Any] = {
        "suite": suite, "attacks": attacks and attacks.split(","), "protocols": protocols and protocols.split(","),
        "norm": norm.value, "eps": eps, "step_size": step_size, "steps": steps, "backend": backend.value,
        "n_examples": n_examples, "indices": indices, "draws": draws, "granularity": granularity.value,
        "attack_paths": attack_paths,
        "batch_size": batch_size, "precision": precision.value, "cumulative": cumulative, "sanity": sanity,
        "sanity_examples": sanity_examples, "seed": seed,
    }

    from rnabench.errors import CheckpointError, InvalidValue
    from rnabench.settings.base import from_options
    from rnabench.settings.datasets import DataSettings
    from rnabench.settings.evaluation import EvaluationSettings

    keys = from_options(EvaluationSettings, values)
    if (run is None) == (model is None):
        raise InvalidValue("RUN", str(run) if run else None, "either a run folder or --model package.module:factory")
    given = {"dataset": dataset, "data_dir": data_dir, "dataset_name": dataset_name, "download": download or None}
    data = {name: value for name, value in given.items() if value is not None}

    from rnabench.report.record_file import read_record

    compared = read_record(baseline) if baseline is not None else None

    from rnabench.cli.console import LiveProgress, stop_request
    from rnabench.cli.results import finish
    from rnabench.jobs.evaluate import attack as run_attack
    from rnabench.jobs.evaluate import beside_baseline, identity, load_foreign, load_run, with_surrogate
    from rnabench.report.origin import taken_over
    from rnabench.runtime.environment import now

    target = (load_run(run, data, keys, device) if run is not None
              else load_foreign(str(model), from_options(DataSettings, data), keys, device))
    if compared is not None and compared.data.fingerprint != target.data.fingerprint:
        raise InvalidValue("--baseline", str(baseline), "a record of the same images (data set, number, order)")
    if transfer_from is not None:
        try:
            target = with_surrogate(target, transfer_from, keys)
        except CheckpointError as error:
            raise CheckpointError(f"--transfer-from: {str(error).removeprefix('run: ')}") from None
    name = f"attack-{keys.suite}-{identity(target, keys)}"
    folder = out or (run / name if run is not None else Path("runs") / f"{str(model).replace(':', '-')}-{name}")
    started = now()
    with stop_request(max_minutes) as stop, LiveProgress() as progress:
        if not target.description.get("replayable", True):
            progress.line("warning: this model draws random numbers that torch's seed does not fix: its draws cannot "
                          "be frozen or replayed, and `paper` and `same-path` act as `resample`")
        if not target.description.get("differentiable", True):
            other = "" if transfer_from else "; for a transfer attack too, name a run with --transfer-from"
            progress.line("warning: no gradient reaches this model's images: attacks that follow it say nothing; see "
                          f"sanity check 4{other}")
        record = run_attack(target, keys, folder / "record.json", progress, stop, resume)
        if said := taken_over(record, started, str(target.device)):
            progress.line(f"{said}; --no-resume makes it anew")
    records = [record] if compared is None else [compared, beside_baseline(record, compared, folder / "record.json")]
    finish(records, folder, f"Robustness of {target.description['label']}")
