"""One evaluation, from a network and options to a record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rnabench.defence.fingerprint import foreign_code
from rnabench.evaluation.cells import Cell, check_protocols
from rnabench.evaluation.engine import Evaluation, OnCell, algorithms_of, cell_name, evaluate, parameters_of
from rnabench.jobs.images import with_images
from rnabench.jobs.target import Target
from rnabench.report.network import Network
from rnabench.report.record import FORMAT, DrawsAre, Record, Result
from rnabench.report.record_file import read_record, reading, write_record
from rnabench.report.scores import judged
from rnabench.report.staleness import own_reasons
from rnabench.runtime.device import number_formats
from rnabench.runtime.environment import device_description, git_revision, now, versions
from rnabench.runtime.journal import Journal
from rnabench.runtime.locks import check_locks, claimed
from rnabench.runtime.progress import Progress
from rnabench.runtime.stopping import StopRequest
from rnabench.runtime.watch import Watch
from rnabench.scoring.outcome import Outcome
from rnabench.settings.attacks import resolved
from rnabench.settings.base import digest
from rnabench.settings.evaluation import EvaluationSettings

NAMES = ("label", "method", "training_seed")  # what a recipe calls a network: a record is the same under any


def identity(target: Target, keys: EvaluationSettings) -> str:
    """The digest of everything that decides the outcomes: settings, and versions of algorithms."""
    return digest({"settings": settings_identity(target, keys), "algorithms": evaluation_versions(target, keys)})


def evaluation_versions(target: Target, keys: EvaluationSettings) -> dict[str, int]:
    """The versions of all algorithms that an evaluation rests on today; its networks' training has its own."""
    return {name: version for cell in target.cells(keys) + target.probes(keys)
            for name, version in algorithms_of(cell).items()}


def settings_identity(target: Target, keys: EvaluationSettings) -> str:
    """`identity` without the versions of algorithms. A label does not count; of a foreign network, where it comes from
    does, and what it computes."""
    entries = [[entry.protocol, {"name": entry.attack.name, **resolved(entry.attack, keys.eps, keys.step)}]
               for entry in keys.entries()]
    return digest(_settings(target, keys) | {"plan": entries} | (
        {"n_examples_of": keys.n_examples_of} if keys.n_examples_of else {}) | (
        {"surrogate": target.surrogate.name} if target.surrogate else {}))


def _settings(target: Target, keys: EvaluationSettings) -> dict[str, Any]:
    """What decides the outcomes of every attack; which attacks there are is left out."""
    # a corruption is in the fingerprint of its images
    settings = keys.model_dump(mode="json", exclude={"suite", "suites", "attacks", "protocols", "n_examples_of",
                                                     "corruption"})
    mates = {"batch_dependent": True} if target.description.get("batch_dependent") else {}
    deployed = {"deployed": target.deployed} if target.deployed else {}
    kept = {"keep_images": True} if keys.keep_images else {}  # no record, and no batch, without images is taken over
    model = [target.description["weights_sha256"], foreign_code(target.description)]
    return {"format": 3,  # as ever: another layout of the file is no other evaluation
            "keys": settings | {"step_size": keys.step},
            "model": model, "data": target.data.fingerprint} | mates | deployed | kept


def attack(target: Target, keys: EvaluationSettings, file: Path, progress: Progress, stop: StopRequest,
           resume: bool = True, log: Sequence[str] = ()) -> Record:
    """Run every cell, write the record to `file` and return it; a record of the same evaluation is not made again,
    unless by other versions of the algorithms.

    Finished batches are kept beside the record until it is written; without `resume` neither they nor a record count.
    The loggers named by `log` are told of every cell, of none if there is a record.
    Raises Stopped, Busy if nothing is left but cells that other processes work on, NumericalError, and RnabenchError
    for a file that holds something else.
    """
    if resume and (record := stale(target, keys, file)) is not None:
        progress.line(f"made anew: {file.name} is stale ({'; '.join(own_reasons(record))})")
    record = attack_some(target, keys, file, lambda cell: True, progress, stop, resume, log)
    assert record is not None
    return record


def attack_some(target: Target, keys: EvaluationSettings, file: Path, chosen: Callable[[Cell], bool],
                progress: Progress, stop: StopRequest, resume: bool = True, log: Sequence[str] = ()
                ) -> Record | None:
    """`attack` for some of the cells; the record is written, and returned, once no cell is left, else None."""
    if resume and (record := finished(target, keys, file)) is not None:
        return record
    check_protocols(keys, target.defence, target.description["label"])
    check_locks(file.parent, progress)
    journal = cell_journal(target, keys, file, resume, progress.line)
    if not resume:
        journal.remove()

    def run(chosen: Callable[[Cell], bool]) -> Evaluation | None:
        with number_formats(keys.precision, target.device), Watch(
                log, f"{file.parent.name}/{file.stem}", file.with_suffix(".events"), identity(target, keys),
                progress.line, several=True, anew=not resume) as watch:
            return evaluate(target.module, target.defence, target.data.source, len(target.data.classes), keys, journal,
                            progress, stop, chosen, (target.data.mean, target.data.std), target.surrogate,
                            _teller(watch) if log else None)

    if keys.cumulative:  # a cell needs all before it: one process does them all, in order
        with claimed(file.with_suffix(".cumulative"), file.name):
            evaluation = run(lambda cell: True)
    else:
        evaluation = run(chosen)
    if evaluation is None:
        return None
    with claimed(file, file.name):
        if resume and (record := finished(target, keys, file)) is not None:
            return record
        with number_formats(keys.precision, target.device):
            record = with_images(_record(target, keys, evaluation, journal), target.cells(keys), keys, journal, file)
        write_record(record, file)
        journal.remove()
    return record


def _teller(watch: Watch) -> OnCell:
    """What tells loggers of a finished cell: its accuracy and the ends of its interval, at its number."""
    def tell(number: int, cell: Cell, outcome: Outcome) -> None:
        values = zip(("accuracy", "low95", "high95"), (outcome.accuracy, *outcome.interval), strict=True)
        name = cell.title.replace(" / ", "/")
        watch.log(f"{number} {cell.title}", number, {f"{name}/{what}": value for what, value in values})
    return tell


def cell_journal(target: Target, keys: EvaluationSettings, file: Path, resume: bool = True,
                 tell: Callable[[str], None] = lambda text: None) -> Journal:
    """The finished batches of the evaluation whose record will be `file`. Attacks may be added and taken away without
    losing them, unless they are cumulative. Without `resume` an existing record does not end the evaluation. `tell` is
    told of batches that are done anew."""
    name = identity(target, keys) if keys.cumulative else digest(_settings(target, keys))
    return Journal(file.with_suffix(".progress"), name, str(target.device),
                   lambda: resume and finished(target, keys, file) is not None, tell)


def finished(target: Target, keys: EvaluationSettings, file: Path) -> Record | None:
    """The record of just this evaluation, if `file` is it. Raises RnabenchError for a file that is no record."""
    if not file.exists() or (record := read_record(file)).digest != identity(target, keys):
        return None
    network = Network.model_validate(target.description)  # the same weights; what made and named them may be another
    record = record.model_copy(update={"model": network})
    with reading(file):
        return record if record.baseline else judged(record)  # by this version's checks


def stale(target: Target, keys: EvaluationSettings, file: Path) -> Record | None:
    """The record of this evaluation as other versions of the algorithms made it, if `file` is that."""
    if not file.exists() or (record := read_record(file)).digest == identity(target, keys) or (
            record.settings_digest not in (None, settings_identity(target, keys))):
        return None
    if record.settings_digest is None:  # of an older format: it is told by what it says of itself
        asked = keys.model_dump(mode="json") | {"step_size": keys.step}
        settings = {**record.evaluation.content(), **record.threat.content()}
        if target.deployed or (record.model.weights_sha256, record.data.fingerprint) != (
                target.description["weights_sha256"], target.data.fingerprint) or any(
                name in asked and asked[name] != value for name, value in settings.items()):
            return None
    named = {name: target.description[name] for name in NAMES if name in target.description}
    return record.model_copy(update={"model": record.model.model_copy(update=named)})


def _record(target: Target, keys: EvaluationSettings, found: Evaluation, journal: Journal) -> Record:
    random, images = target.defence.space.is_random, len(target.data.source)

    def scored(cell: Cell, outcome: Outcome) -> Result:
        group: DrawsAre = "batch" if target.description.get("batch_dependent") else "group"
        draws_are: DrawsAre = "-" if not random else group if keys.granularity == "batch" else "sample"
        return Result.of(outcome, draws_are, parameters_of(cell, keys), cell.attack is None or cell.attack.bounded,
                      algorithms_of(cell), journal.makers(cell_name(cell, keys, images)))

    probed = [scored(*pair) for pair in zip(target.probes(keys), found.probes, strict=True)]
    results = [scored(*pair) for pair in zip(target.cells(keys), found.outcomes, strict=True)]
    return judged(Record.model_validate({
        "format": FORMAT,
        "digest": identity(target, keys),
        "settings_digest": settings_identity(target, keys),
        "algorithms": evaluation_versions(target, keys),
        "made": now(),
        "made_by": list(dict.fromkeys(maker for each in [*results, *probed] for maker in each.made_by)),
        "model": target.description,
        "data": {"name": target.data.name, "fingerprint": target.data.fingerprint,
                 "classes": list(target.data.classes), "indices": target.data.source.indices},
        "threat": {"norm": keys.norm, "eps": keys.eps, "step_size": keys.step},
        "evaluation": keys.model_dump(mode="json", exclude={"norm", "eps", "step_size", *(
            () if keys.corruption else ("corruption",))}),
        "versions": versions(), "git": git_revision(),
        "device": device_description(str(target.device), keys.precision, keys.capture),
        "sanity": {"diagnosis": asdict(found.diagnosis) | {"changed": list(found.diagnosis.changed)},
                   "probes": probed},
        "results": results,
    }))


def beside_baseline(record: Record, baseline: Record, file: Path) -> Record:
    """The record judged beside its deterministic baseline's, and written like that."""
    compared = judged(record, baseline)
    write_record(compared, file)
    return compared
