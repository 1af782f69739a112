"""A claim checked: the adversarial images that a record kept, scored anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rnabench.errors import CheckpointError, InvalidValue, RnabenchError
from rnabench.evaluation.cells import cells
from rnabench.evaluation.engine import parameters_of
from rnabench.evaluation.kept_images import WHAT, KeptImages
from rnabench.evaluation.rescoring import rescore as score
from rnabench.jobs.foreign import load_foreign
from rnabench.jobs.images import description, folder_of
from rnabench.jobs.target import Target, load_run
from rnabench.model.runs import WEIGHTS, finished_runs, read_run
from rnabench.report.record import Record, Result
from rnabench.report.record_file import read_record
from rnabench.report.rescored import Rescored, Rescoring
from rnabench.runtime.device import number_formats
from rnabench.runtime.files import sha256
from rnabench.runtime.progress import Progress
from rnabench.runtime.stopping import StopRequest
from rnabench.settings.base import from_options
from rnabench.settings.datasets import DataSettings
from rnabench.settings.deployment import AS_TRAINED, Deployment
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.imported import Imported

Checked = tuple[Result, KeptImages | None]  # a cell of a record and its images; natural accuracy has none


def rescore(place: Path, run: Path | None, model: Imported | None, runs: Path, data: Mapping[str, Any],
            draws: int | None, seed: int | None, device: str, progress: Progress, stop: StopRequest) -> Rescoring:
    """Score the images that the record at `place` kept, or those of one of its files, on a network: that of a `run`,
    anybody's `model`, or else the record's own, which is looked for beside it and in `runs`.

    `draws` and `seed` by default: as many as the record's, of the seed after its own. All is checked before the first
    image is scored. Raises RnabenchError for files that are no whole images of the record, another data set, and a
    network that is not there, or of other classes; NumericalError for images that the threat model does not allow.
    """
    file, record, chosen = checked(place)
    keys = settings_of(file, record)
    target = _network(file, record, run, model, runs, data, keys, device)
    if target.data.fingerprint != record.data.fingerprint:
        raise InvalidValue("--dataset", f"{target.data.name} (fingerprint {target.data.fingerprint})",
                           f"the images that were attacked: {record.data.name} (fingerprint "
                           f"{record.data.fingerprint})")
    own = _is_own(record, target)
    fresh = keys.model_copy(update={"seed": (keys.seed + 1) % 2**31 if seed is None else seed,
                                    "draws": keys.draws if draws is None else draws})
    by_key = {cell.key: cell for cell in cells(keys, record.model.randomised, record.surrogate)}
    scored = []
    with number_formats(keys.precision, target.device):
        for result, kept in chosen:
            cell = by_key[result.attack, result.protocol]
            same_path = cell.protocol is not None and cell.protocol.same_path
            if same_path and not own:
                scored.append(Rescored(result, None, "its path is one of another network"))
                continue
            outcome = score(target.module, target.defence, target.data.source, len(target.data.classes),
                            keys if same_path else fresh, cell, result.images, kept, progress, stop)
            scored.append(Rescored(result, outcome))
    return Rescoring(record, scored, "its own network" if own else str(target.description["label"]), own, fresh.seed,
                     fresh.draws if target.defence.space.is_random else None)


def checked(place: Path) -> tuple[Path, Record, list[Checked]]:
    """The file of a record, the record, and what it kept images of, each file held against what the record says of it;
    natural accuracy besides, unless `place` is one file of images. Raises RnabenchError."""
    one = place if place.suffix == ".safetensors" else None
    file = place if one is None else place.parent.with_suffix(".json")
    if one is not None and not (place.is_file() and folder_of(file) == place.parent and file.is_file()):
        raise RnabenchError(f"{WHAT}: {str(place)!r} is not there, or beside no record; expected <record>.images/"
                            "<cell>.safetensors beside <record>.json")
    record, chosen = read_record(file), list[Checked]()
    for result in record.results:
        if result.kept_images is not None:
            where = file.parent / result.kept_images.file
            if one is None or where.resolve() == one.resolve():
                chosen.append((result, _whole(where, record, result, result.kept_images.sha256)))
        elif result.attack == "natural" and one is None:
            chosen.append((result, None))
    if all(kept is None for _, kept in chosen):
        raise RnabenchError(f"{WHAT}: {str(file)!r} names {'no' if one is None else 'not these'} kept images; expected "
                            "a record of `rnabench attack --keep-images` and its files")
    return file, record, chosen


def _whole(file: Path, record: Record, result: Result, sha: str) -> KeptImages:
    kept = KeptImages(file)
    for name, value in description(record, result).items():
        if (there := kept.metadata.get(name)) != value:
            raise RnabenchError(f"{WHAT}: {str(file)!r} has {name} {there!r}; expected {value!r}, as in its record")
    if (found := sha256(file)) != sha:
        raise RnabenchError(f"{WHAT}: {str(file)!r} has the hash {found[:12]}...; expected {sha[:12]}..., as in its "
                            "record: it was changed")
    attacked, asked = kept.indices.tolist(), record.data.indices
    alone = asked[: result.images]  # mates of a batch may be among them, and images that were broken before may not
    wanted = attacked == alone if not (record.evaluation.cumulative or record.model.batch_dependent) else (
        set(attacked) <= set(asked))
    if not wanted:
        raise RnabenchError(f"{WHAT}: {str(file)!r} holds other images than its record names; expected "
                            f"{len(alone)} of {record.data.name}")
    return kept


def settings_of(file: Path, record: Record) -> EvaluationSettings:
    """The settings of the evaluation that made a record. Raises RnabenchError for those of another version."""
    kept = record.evaluation.content() | {
        "norm": record.threat.norm, "eps": record.threat.eps, "step_size": record.threat.step_size}
    try:
        keys = EvaluationSettings.model_validate(kept)
        run = cells(keys, record.model.randomised, record.surrogate)
        there = {cell.key: parameters_of(cell, keys).get("eps") for cell in run}
    except (ValidationError, InvalidValue) as error:
        raise RnabenchError(f"record: {str(file)!r} has settings that are not known here ("
                            f"{' '.join(str(error).split())[:200]}); expected "
                            "the version, and the packages, that made it") from None
    if unknown := {(result.attack, result.protocol) for result in record.results} - set(there):
        raise RnabenchError(f"record: {str(file)!r} has the cell {' / '.join(min(unknown))}; expected one that its "
                            "settings name")
    for result in record.results:
        said, follows = result.parameters.get("eps"), there[result.attack, result.protocol]
        if result.bounded and said != follows:
            raise RnabenchError(f"record: {str(file)!r} contradicts itself: {result.attack} / {result.protocol} has "
                                f"eps {said}; expected {follows}, as its threat model and settings say")
    return keys


def _network(file: Path, record: Record, run: Path | None, model: Imported | None, runs: Path, data: Mapping[str, Any],
             keys: EvaluationSettings, device: str) -> Target:
    if model is not None:
        return load_foreign(model, from_options(DataSettings, data), keys, device)
    folder = run or _own_run(file, record, runs)
    used = AS_TRAINED
    if record.model.deployed is not None and (folder / WEIGHTS).is_file() and (
            sha256(folder / WEIGHTS) == record.model.weights_sha256):
        used = Deployment.model_validate(record.model.deployed.content())
    return load_run(folder, data, keys, device, deployment=used)


def _own_run(file: Path, record: Record, runs: Path) -> Path:
    """The run folder with the record's weights: the one that the record lies in, or one in `runs`."""
    if record.model.arch is None:  # its module is not imported because a file says so
        raise CheckpointError(f"--model: missing; expected the network of the record, {record.label!r} as "
                              "package.module:factory, or another one (or --run)")
    places = [file.resolve().parent.parent]
    if runs.is_dir():
        places += [found.folder for found in finished_runs(runs, instead=", or name the network's with --run")]
    for folder in places:
        weights = folder / WEIGHTS
        if weights.is_file() and sha256(weights) == record.model.weights_sha256:
            read_run(folder)
            return folder
    raise CheckpointError(f"--run: no run in {str(runs)!r} has the record's weights ({record.model.weights_sha256[:12]}"
                          "...); expected one that has, another folder (--runs), or another network (--run, --model)")


def _is_own(record: Record, target: Target) -> bool:
    """Whether the network is the record's: its weights, how it is used, and (of anybody's) its source and what its
    factory was called with."""
    kept, found = record.model, target.description
    sources = [(code or {}).get("source_sha256") for code in (kept.code, found.get("code"))]
    arguments = [(imported or {}).get("args", {}) for imported in (kept.imported, found.get("imported"))]
    used = kept.deployed.content() if kept.deployed else {}
    return (kept.weights_sha256 == found["weights_sha256"] and sources[0] == sources[1]
            and arguments[0] == arguments[1] and used == target.deployed)
