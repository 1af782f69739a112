"""`rnabench attack`, its `--list`, and `crosscheck`, which attacks with other libraries' attacks too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from rnabench.cli import options as o
from rnabench.cli.answer import Answer
from rnabench.cli.options import Change, only

if TYPE_CHECKING:
    from rnabench.settings.deployment import Deployment
    from rnabench.settings.evaluation import EvaluationSettings


def attack(
    data: o.Data,
    settings: EvaluationSettings,
    deployment: Deployment,
    run: Annotated[Optional[Path], typer.Argument(help="Run folder, as written by `rnabench train`.  [default: the "
                                                       "newest finished one in --runs]", show_default=False)] = None,
    runs: o.Runs = Path("runs"),
    model: o.Model = None,
    model_args: o.ModelArgs = None,
    model_weights: o.ModelWeights = None,
    baseline: Annotated[Optional[Path], o.option("Record (JSON) of the deterministic baseline on the same images, to "
                                                 "compare with.", o.MODEL)] = None,
    transfer_from: Annotated[o.Texts, o.option(
        "Run folder: attacks named transfer-..., as in --attacks transfer-pgd20, and one of the sanity checks make "
        "their images on its network; of several, comma-separated, on all together.", o.MODEL)] = None,
    list_: Annotated[bool, o.option("List suites, attacks and protocols, and stop.", o.ATTACK, "--list")] = False,
    device: o.Device = "auto",
    resume: o.Resume = True,
    max_minutes: o.MaxMinutes = None,
    log: o.Log = None,
    out: Annotated[Optional[Path], o.option("Folder of the results.  [default: <run>/attack-<suite>-<digest>]", o.RUN)
                   ] = None,
) -> Answer:
    """Attack a trained network under the paper's protocol and an adaptive one, and score it on fresh paths.

    Writes record.json (with per-example outcomes), table.csv, table.md, randomness.md (what the draws are worth) and
    figures of tries, passes and sweeps. Ctrl-C stops cleanly; the same command goes on.
    """
    if list_:
        return show_lists()

    from rnabench.errors import CheckpointError, InvalidValue
    from rnabench.runtime.watch import check_loggers
    from rnabench.settings.base import from_options
    from rnabench.settings.datasets import DataSettings
    from rnabench.settings.imported import Imported

    check_loggers(log or ())
    if run is not None and model is not None:
        raise InvalidValue("RUN", str(run), "either a run folder or --model package.module:factory")
    imported = Imported.if_asked(model, model_args, model_weights)
    for name, value in deployment.changes().items() if imported is not None else ():
        raise InvalidValue(f"--{name}", value, "a run folder with it: a --model is attacked as it comes")
    if run is None and imported is None:
        from rnabench.cli.console import tell
        from rnabench.jobs.runs import run_to_attack

        run, choice = run_to_attack(runs)
        tell(choice)

    compared = None
    if baseline is not None:
        from rnabench.report.whole import baseline_record

        compared = baseline_record(baseline)

    from rnabench.cli.console import LiveProgress, stop_request
    from rnabench.cli.output import finish
    from rnabench.jobs.evaluate import attack as run_attack
    from rnabench.jobs.evaluate import beside_baseline, identity
    from rnabench.jobs.foreign import load_foreign, said_of
    from rnabench.jobs.surrogates import with_surrogate
    from rnabench.jobs.target import load_run
    from rnabench.report.origin import taken_over
    from rnabench.runtime.environment import now
    from rnabench.settings.file_names import shortened

    if imported is not None:
        target = load_foreign(imported, from_options(DataSettings, data), settings, device)
    else:
        assert run is not None
        target = load_run(run, data, settings, device, deployment=deployment)
    if compared is not None and compared.data.fingerprint != target.data.fingerprint:
        raise InvalidValue("--baseline", str(baseline), "a record of the same images (data set, number, order)")
    if transfer_from:
        try:
            target = with_surrogate(target, [Path(folder) for folder in transfer_from], settings)
        except CheckpointError as error:
            raise CheckpointError(f"--transfer-from: {str(error).removeprefix('run: ')}") from None
    digest = identity(target, settings)
    named = "" if run is not None else f"{str(model).replace(':', '-')}-"
    folder = out or (run or Path("runs")) / shortened(f"{named}attack-{settings.suite}-{digest}", digest)
    started = now()
    with stop_request(max_minutes) as stop, LiveProgress() as progress:
        if target.description.get("batch_dependent"):
            progress.line(f"predictions of this network depend on batch mates: batches of {settings.batch_size} stay "
                          "whole, and the numbers are those of this --batch-size")
        if not target.description.get("differentiable", True):
            other = "" if transfer_from else "; for a transfer attack too, name a run with --transfer-from"
            progress.line("warning: no gradient reaches this model's images: attacks that follow it say nothing; see "
                          f"sanity check 4{other}")
        record = run_attack(target, settings, folder / "record.json", progress, stop, resume, log or ())
        for line in said_of(target.description):
            progress.line(line)
        if said := taken_over(record, started, str(target.device)):
            progress.line(f"{said}; --no-resume makes it anew")
    records = [record] if compared is None else [compared, beside_baseline(record, compared, folder / "record.json")]
    found = finish(records, folder, f"Robustness of {target.description['label']}")
    return found | {"run": run, "record": folder / "record.json"}


def show_lists() -> Answer:
    """Suites, attacks and protocols."""
    from rnabench.cli.console import console, show_table
    from rnabench.settings.attacks import ATTACKS, GRAMMAR
    from rnabench.settings.suites import SUITES

    suites = [(name, _in_short([str(attack) for attack in suite.attacks]), _in_short(list(suite.protocols)),
               suite.summary) for name, suite in SUITES.items()]
    show_table("Suites (--suite; several joined by +)", ("suite", "attacks", "protocols", "what for"), suites, 4)
    attacks = []
    for kind, attack in ATTACKS.items():
        settings = ", ".join(f"{name} {field.default}" for name, field in attack.model_fields.items()
                             if field.default is not None)
        attacks.append((kind, "within eps" if attack.bounded else "smallest change", settings or "-",
                        f"{attack.summary} ({attack.paper})" if attack.paper else attack.summary))
    show_table("Attacks (--attacks)", ("kind", "goal", "parameters and defaults", "what it is"), attacks, 4)
    out = console()
    out.print(f"An attack's name is {GRAMMAR}. A recipe can set any parameter: {{name: cw-search, kind: cw, c: 0.01, "
              "searches: 6}. With transfer- before a bounded one, as in transfer-pgd20, its images are made on the "
              "networks of --transfer-from.")
    protocols = [
        ("paper", "one path, frozen for the whole attack", "other draws"),
        ("same-path", "one path, frozen", "the same path"),
        ("resample", "a fresh draw in every forward", "fresh draws"),
        ("eot:K", "the mean over K fresh draws at every step", "fresh draws"),
        ("eot:K:probabilities", "the loss of K fresh draws' mean probabilities", "fresh draws"),
        ("eot:K:logits", "the loss of K fresh draws' mean logits", "fresh draws"),
    ]
    show_table("Protocols (--protocols)", ("protocol", "the attacker's path", "the prediction's path"), protocols, 3)
    return {
        "suites": [{"name": name, "attacks": list(map(str, suite.attacks)), "protocols": suite.protocols,
                    "summary": suite.summary} for name, suite in SUITES.items()],
        "attacks": [{"kind": kind, "bounded": attack.bounded, "summary": attack.summary, "paper": attack.paper,
                     "parameters": {name: field.default for name, field in attack.model_fields.items()
                                    if not field.is_required()}} for kind, attack in ATTACKS.items()],
        "protocols": [dict(zip(("name", "attacks", "predicts"), each, strict=True)) for each in protocols]}


def _in_short(names: list[str]) -> str:
    return ", ".join(names) if len(names) < 8 else f"{names[0]}, {names[1]}, ..., {names[-1]}"


def crosscheck(
    run: Annotated[Path, typer.Argument(help="Run folder, as written by `rnabench train`.")],
    data: o.Data,
    settings: Annotated[EvaluationSettings, only("eps", "seed", n_examples=Change(
        default=256, help="Test images (fewer for the slowest attacks)."))],
    attacks: Annotated[o.Texts, o.option("Some of the attacks only, comma-separated.", o.ATTACK)] = None,
    device: o.Device = "auto",
    out: Annotated[Optional[Path], o.option("Also write crosscheck.json and crosscheck.md there.", o.RUN)] = None,
) -> Answer:
    """Run our attacks and their counterparts in torchattacks and pyautoattack on the same images and the same path, and
    compare outcomes, distances and time."""
    from rnabench.cli.console import LiveProgress, show_table
    from rnabench.errors import InvalidValue, one_of
    from rnabench.jobs.crosscheck import cases
    from rnabench.jobs.crosscheck import crosscheck as compare
    from rnabench.jobs.target import load_run
    from rnabench.report.crosscheck import HEADINGS, display_rows, title, write_crosscheck

    by_name = cases()
    names = list(attacks or by_name)
    for name in names:
        if name not in by_name:
            raise InvalidValue("--attacks", name, one_of(by_name), by_name)
    target = load_run(run, data, settings, device)
    with LiveProgress() as progress:
        result = compare(target.module, target.defence, target.data.source, len(target.data.classes), settings.eps,
                         names, settings.seed, progress)
    result |= {"model": target.description["label"], "dataset": target.data.name,
               "digest": target.description["digest"]}
    show_table(title(result), HEADINGS, display_rows(result), text_columns=2)
    if out is not None:
        write_crosscheck(result, out)
    return result
