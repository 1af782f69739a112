"""One training run, from a recipe to a run folder: model.safetensors, run.json, log.csv."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from rnabench.data.sources import TrainingData, training_data
from rnabench.errors import Busy, CheckpointError, InvalidValue, OfOneRank
from rnabench.exchange.initial import initial_state
from rnabench.exchange.names import scheme
from rnabench.jobs.durations import network_like, network_speed, training_flops, training_passes
from rnabench.jobs.teacher import Teacher, load_teacher
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.defences.smoothing import one_draw
from rnabench.model.factory import build_model
from rnabench.model.runs import EVENTS, RUN_FILE, WEIGHTS, read_run
from rnabench.model.saved import describe_model, load_model, save_weights
from rnabench.norm.layers import use_bgn_conventions
from rnabench.runtime.device import check_precision, find_device, memory_ran_out, number_formats, undivided
from rnabench.runtime.environment import device_description, git_revision, versions
from rnabench.runtime.files import sha256, write_text, writing
from rnabench.runtime.locks import check_locks, claimed, is_claimed
from rnabench.runtime.plain import plain
from rnabench.runtime.progress import Progress, about
from rnabench.runtime.ranks import ALONE, Ranks
from rnabench.runtime.rate import Arithmetic
from rnabench.runtime.stopping import StopRequest
from rnabench.runtime.watch import Watch
from rnabench.settings.algorithms import outdated, training_versions
from rnabench.settings.architectures import ARCHITECTURES
from rnabench.settings.datasets import DATASETS
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.file_names import shortened
from rnabench.settings.parts import unusual_parts, with_parts
from rnabench.settings.training import TrainingSettings
from rnabench.training.compiled import check_compiled
from rnabench.training.loop import Trainer
from rnabench.training.objective import check_network
from rnabench.training.shared import check_last_batch, check_ranks
from rnabench.training.state import FILE as STATE


def run_name(recipe: TrainingSettings) -> str:
    """The default name of a run's folder: readable, and different for every recipe."""
    width, operators = (f"-{letter}{number}" if number else "" for letter, number in (
        ("w", recipe.width), ("m", recipe.operators)))
    parts = unusual_parts(recipe.network).values()
    name = "-".join([recipe.title, f"{recipe.arch}{width}{operators}", recipe.space, *parts, recipe.digest()])
    return shortened(name, recipe.digest())


def train(
    recipe: TrainingSettings, folder: Path, progress: Progress, stop: StopRequest, device_name: str = "auto",
    refresh: bool = False, teacher: Path | None = None, log: Sequence[str] = (), ranks: Ranks = ALONE,
) -> dict[str, Any]:
    """Train, or go on training, in `folder`; returns the content of its run.json. The recipe's teacher, if it has one,
    is the network in the folder `teacher` (by default, its usual name beside the student's). The loggers named by
    `log` are told of every epoch.

    A finished run of the same recipe is returned as it is; with `refresh` only if today's algorithms made it. A state
    that other algorithms saved is not continued but begun anew. Raises Stopped (state saved), CheckpointError if the
    folder holds something else, Busy if another process trains in it, and the errors of the data set, the recipe and
    the teacher.

    Several `ranks`, which call this with the same recipe, train together; only the first one looks at the folder and
    writes to it. Raises RnabenchError if they disagree.
    """
    check_ranks(recipe, ranks)
    with ranks.together():
        identity = recipe.identity()  # of the weights that it starts from too, which may not be there
    ranks.agree({**identity, **versions(), "the revision of the code": git_revision(),
                 "the device": device_name.partition(":")[0]})
    with ranks.together():
        # asked before the images are read: who waits for it asks again and again
        if ranks.first and is_claimed(folder, wait=True):
            raise Busy(f"{folder.name}: another process trains it; wait until it is done")
        device = find_device(device_name)
        check_precision(recipe.precision, device)
        if recipe.init is not None:
            scheme(recipe.arch)  # an architecture whose weights have known names
        with torch.device("meta"):
            check_network(recipe, build_model(**recipe.network))  # says what cannot be before images are read
    data = _data(recipe, device, ranks)
    finished = ranks.by_first(lambda: _same_run(recipe, folder, data.fingerprint, refresh))
    if finished is not None:
        why = stale_reasons(finished)
        kept = f"; stale ({', '.join(why)}), and kept: --refresh trains it anew" if why else ""
        progress.line(f"already trained: {folder}{kept}")
        return finished
    with ExitStack() as held:
        ranks.by_first(lambda: _claim(folder, progress, held))
        for state in (number_formats(recipe.precision, device), torch.inference_mode(False), torch.enable_grad()):
            held.enter_context(state)
        if (finished := ranks.by_first(lambda: _same_run(recipe, folder, data.fingerprint, refresh))) is not None:
            return finished
        with ranks.together():
            taught_in = teacher or folder.parent / run_name(recipe.teacher or recipe)
            taught_by = load_teacher(recipe, taught_in, data, device)
        ranks.agree({"the teacher": taught_by and taught_by.description["weights_sha256"]})
        return _run(recipe, folder, data, progress, stop, device_name, taught_by, ranks, log if ranks.first else ())


def _data(recipe: TrainingSettings, device: torch.device, ranks: Ranks) -> TrainingData:
    """The images, the same on all ranks; the first one downloads what others then find."""
    data: TrainingData | None = None
    for turn in (True, False):
        with ranks.together():
            if data is None and (ranks.first or not turn or not recipe.download):
                data = training_data(recipe, recipe.n_train, recipe.n_holdout, recipe.seed, device, recipe.augment,
                                     recipe.input_statistics, ranks)
    assert data is not None
    ranks.agree({"the fingerprint of the images": data.fingerprint})
    check_last_batch(recipe, len(data.train), ranks)
    return data


def _claim(folder: Path, progress: Progress, held: ExitStack) -> None:
    check_locks(folder.parent, progress)
    held.enter_context(claimed(folder, folder.name))


def stale_reasons(run: Mapping[str, Any]) -> list[str]:
    """How the algorithms that made a run (its run.json), or its teacher, differ from today's; empty for one that was
    trained elsewhere, of which that is not known."""
    if run.get("status") == "converted":
        return []
    why, teacher = _own_reasons(run), run.get("teacher")
    if teacher:
        versions = training_versions(run["recipe"]["teacher"]["select"])
        why += [f"its teacher: {each}" for each in outdated(teacher["algorithms"], versions)]
    return why


def _own_reasons(run: Mapping[str, Any]) -> list[str]:
    return outdated(run.get("algorithms"), training_versions(run["recipe"].get("select", "best")))


def _state_reasons(run: Mapping[str, Any], teacher: Teacher | None) -> list[str]:
    """Why a stopped run is not gone on with."""
    before = (run.get("teacher") or {}).get("weights_sha256")
    changed = teacher is not None and before != teacher.description["weights_sha256"]
    return _own_reasons(run) + (["its teacher was trained anew"] if changed else [])


def _run(recipe: TrainingSettings, folder: Path, data: TrainingData, progress: Progress, stop: StopRequest,
         device_name: str, teacher: Teacher | None, ranks: Ranks, log: Sequence[str]) -> dict[str, Any]:
    device = find_device(device_name)
    if recipe.drop_last and len(data.train) < recipe.batch_size:
        raise InvalidValue("--batch-size", recipe.batch_size, f"at most the {len(data.train)} training images")
    model = build_model(
        **recipe.network, num_classes=len(data.classes), mean=data.mean, std=data.std,
        granularity=recipe.granularity, seed=recipe.seed,
    ).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    use_bgn_conventions(model, recipe.bgn_momentum, recipe.bgn_variance == "unbiased")
    model.precision = recipe.precision
    if recipe.compile:
        model.compile_network()
    description = {
        "format": 1,
        "status": "training",
        "digest": recipe.digest(),
        "algorithms": training_versions(recipe.select),
        "recipe": recipe.model_dump(mode="json"),
        "resolved": {"step_size": recipe.step, "width": recipe.width or ARCHITECTURES[recipe.arch].width},
        "model": describe_model(model, recipe, data.classes, data.mean, data.std),
        "data": {"name": recipe.title, "train_examples": len(data.train), "holdout_examples": len(data.holdout),
                 "fingerprint": data.fingerprint},
        "seeds": {"seed": recipe.seed, "streams": "derived by name; see rnabench.seeding"},
        "execution": {"device": device_name, "max_minutes": stop.max_minutes, "out": plain(folder)} | (
            {"ranks": ranks.count} if ranks.several else {}),
        "versions": versions(), "git": git_revision(),
        "device": device_description(str(device), recipe.precision, recipe.capture),
    } | ({"teacher": teacher.description} if teacher else {})
    if (init := recipe.init) is not None:
        weights, source = ranks.by_first(lambda: initial_state(model, recipe.arch, init))
        model.load_state_dict(model.state_dict() | weights)
        description["init"] = source
    ranks.by_first(lambda: _open(recipe, folder, progress, teacher))
    side = DATASETS[recipe.dataset].size or next(data.train.in_order(1)).images.shape[-1]
    alike = network_like(recipe, len(data.classes), device, recipe.precision)
    taught_by = teacher.network if teacher else None
    arithmetic = ranks.by_first(lambda: Arithmetic.on(
        device, recipe.precision, training_flops(alike, side, recipe, taught_by), ranks.count))
    description |= {"arithmetic": asdict(arithmetic)}
    trainer = Trainer(model, recipe, data, folder, progress, stop, arithmetic, taught_by, ranks)
    left = (recipe.epochs - trainer.epochs_done) / ranks.count
    progress.line(f"takes {ranks.by_first(lambda: _duration(recipe, data, left, alike, side))}")
    ranks.by_first(lambda: _describe(description, folder))
    started = time.time()
    try:
        if recipe.compile:
            check_compiled(model, min(recipe.batch_size, len(data.train)), side)
        with _watched(trainer, log):
            weights, chosen = trainer.run()
    except RuntimeError as error:
        if not memory_ran_out(error):
            raise
        message = undivided(recipe.batch_size, "half a batch would be another step of training")
        raise (message if ranks.first else OfOneRank(f"rank {ranks.rank}: {message}")) from error

    def finish() -> dict[str, Any]:
        save_weights(weights, folder)
        whole = description | {
            "status": "finished",
            "selected": {"by": recipe.select, **chosen},
            "weights_sha256": sha256(folder / WEIGHTS),
            "seconds_in_last_call": round(time.time() - started, 1),
        }
        _describe(whole, folder)
        (folder / STATE).unlink(missing_ok=True)
        return whole
    return ranks.by_first(finish)


def _open(recipe: TrainingSettings, folder: Path, progress: Progress, teacher: Teacher | None) -> None:
    """Make the folder, and throw a state away that is not to be gone on with."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    network = with_parts(f"{recipe.arch} with space {recipe.space}", recipe.network)
    progress.line(f"training {network} on {recipe.title} in {folder}")
    if (folder / STATE).exists() and (why := _state_reasons(read_run(folder), teacher)):
        progress.line(f"begun anew: the saved state of {folder.name} is of other algorithms ({', '.join(why)})")
        (folder / STATE).unlink()


def _describe(description: Mapping[str, Any], folder: Path) -> None:
    write_text(folder / RUN_FILE, json.dumps(description, indent=1) + "\n")


@contextmanager
def _watched(trainer: Trainer, log: Sequence[str]) -> Iterator[None]:
    """Tell loggers of the epochs that are done, and of those that a training finishes inside the block."""
    folder, digest, past = trainer.folder, trainer.recipe.digest(), trainer.state.log
    with Watch(log, folder.name, folder / EVENTS, digest, trainer.progress.line, anew=not past) as watch:
        def tell(row: Mapping[str, float]) -> None:
            epoch = int(row["epoch"])
            watch.log(f"epoch {epoch}", epoch, {name: value for name, value in row.items() if name != "epoch"})

        for row in past:
            tell(row)
        trainer.on_epoch = tell
        yield


def _duration(recipe: TrainingSettings, data: TrainingData, epochs: float, network: RandomizedClassifier, side: int
              ) -> str:
    """About how long so many epochs take, without compiling."""
    work = training_passes(recipe, len(data.train) + len(data.holdout), epochs)
    keys = EvaluationSettings.model_validate({"precision": recipe.precision})
    with one_draw(network):
        timed = network_speed(network, side, keys, len(data.classes), work)
    return about(work * timed.gradient, timed.load)


def _same_run(recipe: TrainingSettings, folder: Path, fingerprint: str, refresh: bool) -> dict[str, Any] | None:
    """run.json of a finished run of this recipe on these images; None if the folder is free, if its run is not
    finished, or with `refresh` if it is stale."""
    if folder.exists() and not folder.is_dir():
        raise InvalidValue("--out", str(folder), "a folder")
    if not (folder / RUN_FILE).exists():
        if folder.exists() and any(not file.name.startswith(".") for file in folder.iterdir()):
            raise InvalidValue("--out", str(folder), "an empty folder, or one of `rnabench train`")
        return None
    run = read_run(folder)
    if run.get("digest") != recipe.digest():
        theirs, ours = dict(run.get("recipe") or {}), recipe.identity()
        if recipe.teacher:  # in a few words
            theirs["teacher"], ours["teacher"] = (run.get("teacher") or {}).get("digest"), recipe.teacher.digest()
        changed = [f"{key} is {'not set' if theirs.get(key) is None else repr(theirs[key])} there and {value!r} here"
                   for key, value in ours.items() if theirs.get(key) != value]
        raise CheckpointError(f"--out: {str(folder)!r} holds another run ({'; '.join(changed) or 'another version'}); "
                              "expected the same recipe or an empty folder")
    if run.get("rounded"):
        raise CheckpointError(f"--out: {str(folder)!r} holds rounded weights of this training; expected those "
                              "that were trained, or another folder")
    if (run.get("data") or {}).get("fingerprint") != fingerprint:
        raise CheckpointError(f"--data-dir: the run in {str(folder)!r} was trained on other images; expected the "
                              "same images, or another --dataset-name or --out")
    if run.get("status") != "finished" or (refresh and stale_reasons(run)):
        return None
    load_model(folder)  # finished, and whole
    return run
