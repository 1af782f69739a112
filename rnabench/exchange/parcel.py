"""A run folder as it is shared: its network, what says what that is, and a list of the files with their hashes.

Whoever takes one from others gets nothing but files of these names, within these sizes, whose hashes are those listed,
and a network that loads; nothing is unpickled, and nothing stands in the folder of runs before all of that holds.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rnabench.errors import CheckpointError, InvalidValue, all_at_once
from rnabench.exchange.repository import Repository
from rnabench.model.runs import LOG, RUN_FILE, USABLE, WEIGHTS, read_run
from rnabench.model.saved import load_model
from rnabench.runtime.files import atomic_folder, sha256, write_text, writing
from rnabench.settings.base import problems
from rnabench.settings.documents import Bounds, Unreadable, read_json
from rnabench.settings.initial import init_name

LISTED, CARD, INFO, AGAIN = "files.json", "README.md", "model_info.json", "recipe.yaml"
MOST_BYTES = {WEIGHTS: 8 << 30, RUN_FILE: 4 << 20, LOG: 16 << 20, CARD: 4 << 20, INFO: 1 << 20, AGAIN: 1 << 20}
REQUIRED = WEIGHTS, RUN_FILE
OF_LIST = Bounds(64 << 10, 1_000)
SAID = ("format", "status", "digest", "algorithms", "recipe", "resolved", "model", "data", "seeds", "versions", "git",
        "device", "init", "teacher", "arithmetic", "selected", "source", "conversion", "rounded", "weights_sha256")
"""What is told of a run; not how it was called, which names places of one machine."""


class Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class Listing(BaseModel):
    """What `files.json` says."""

    model_config = ConfigDict(strict=True, extra="forbid")
    format: Literal[1] = 1
    files: dict[Literal["model.safetensors", "run.json", "log.csv", "README.md", "model_info.json", "recipe.yaml"],
                Entry]

    def same_in(self, folder: Path) -> bool:
        """Whether the folder has just these files, among others."""
        return all((folder / name).is_file() and sha256(folder / name) == entry.sha256
                   for name, entry in self.files.items())


def publish(run: Path, texts: Mapping[str, str], repository: Repository) -> str:
    """Put a finished run into a repository, with `texts` (CARD, INFO, AGAIN) beside; returns what names this version of
    it there. Raises CheckpointError for a run that cannot be used, and the repository's errors."""
    said = read_usable(run)
    load_model(run)  # whole, and the weights that it says
    with TemporaryDirectory(prefix="rnabench-") as place, writing(Path(place)):
        folder = Path(place)
        shutil.copyfile(run / WEIGHTS, folder / WEIGHTS)
        with suppress(FileNotFoundError):
            shutil.copyfile(run / LOG, folder / LOG)
        told = shared(said) | {"weights_sha256": sha256(folder / WEIGHTS)}
        for name, text in {**texts, RUN_FILE: json.dumps(told, indent=1) + "\n"}.items():
            write_text(folder / name, text)
        files = {file.name: Entry(sha256=sha256(file), bytes=file.stat().st_size) for file in folder.iterdir()}
        listing = Listing.model_validate({"files": dict(sorted(files.items()))})
        write_text(folder / LISTED, listing.model_dump_json(indent=1) + "\n")
        return repository.publish(folder, [*MOST_BYTES, LISTED])


def read_usable(run: Path) -> dict[str, Any]:
    """Its run.json. Raises CheckpointError unless that says that the run is finished."""
    said = read_run(run, whole=True)
    if said.get("status") not in USABLE:
        raise CheckpointError(f"RUN: {str(run)!r} is {said.get('status', 'of no known status')}; expected a finished "
                              "run: the same `rnabench train` command goes on where it stopped")
    return said


def shared(run: Mapping[str, Any]) -> dict[str, Any]:
    """What others are told of a run (its run.json): no place on this machine."""
    return {name: _placeless(run[name]) if name == "recipe" else run[name] for name in SAID if name in run}


def _placeless(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe, and that of its teacher, that looks for files nowhere; those of weights keep their names."""
    places = {name: value for name, value in (("data_dir", None), ("download", False)) if name in recipe}
    init = {"init": init_name(recipe["init"])} if recipe.get("init") else {}
    teacher = {"teacher": _placeless(recipe["teacher"])} if recipe.get("teacher") else {}
    return dict(recipe) | places | init | teacher


def take(repository: Repository, target: Path) -> bool:
    """Put the run of a repository into the folder `target`, which is new; False if just that run is there already.

    Raises CheckpointError for anything but a whole run, InvalidValue for a folder that holds something else, and the
    repository's errors; then nothing is left.
    """
    listing = _listing(repository)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        if listing.same_in(target):
            with _called(repository.name, target):
                _check_run(repository.name, target)
            return False
        raise InvalidValue("--runs", str(target), "a folder in which there is no other run of that name: move this "
                           "one, or name another folder")
    is_new = not target.parent.exists()
    try:
        with atomic_folder(target) as folder, _called(repository.name, folder):
            for name, entry in listing.files.items():
                repository.fetch(name, folder)
                _check(repository.name, folder / name, entry)
            repository.tidy(folder)
            _check_run(repository.name, folder)
    except BaseException:
        if is_new:
            with suppress(OSError):
                target.parent.rmdir()
        raise
    return True


def _listing(repository: Repository) -> Listing:
    """Its list of files, which it has, and which are no larger than such files are."""
    sizes, name = repository.sizes(), repository.name
    if sizes.get(LISTED, OF_LIST.bytes + 1) > OF_LIST.bytes:
        raise CheckpointError(f"pull: {name!r} has no {LISTED} that lists its files; expected a run that `rnabench "
                              "push` put there")
    with TemporaryDirectory(prefix="rnabench-") as place:
        repository.fetch(LISTED, Path(place))
        try:
            listing = Listing.model_validate(read_json(Path(place) / LISTED, OF_LIST))
        except (Unreadable, ValidationError) as error:
            faults = str(error) if isinstance(error, Unreadable) else all_at_once(
                [f"{key}: {text}" for key, text in problems(error, Listing)], between="; ")
            raise CheckpointError(f"pull: {LISTED} of {name!r} is damaged ({faults}); expected a list that `rnabench "
                                  "push` wrote") from None
    for file in dict.fromkeys([*REQUIRED, *listing.files]):
        if file not in listing.files or file not in sizes:
            raise CheckpointError(f"pull: {name!r} has no {file}; expected a whole run")
        if sizes[file] != listing.files[file].bytes:
            raise CheckpointError(f"pull: {file} of {name!r} has {sizes[file]:,} bytes; expected the "
                                  f"{listing.files[file].bytes:,} that {LISTED} says")
        if sizes[file] > MOST_BYTES[file]:
            raise CheckpointError(f"pull: {file} of {name!r} has {sizes[file]:,} bytes; expected at most "
                                  f"{MOST_BYTES[file]:,}")
    return listing


def _check(name: str, file: Path, entry: Entry) -> None:
    if file.is_symlink() or not file.is_file() or sha256(file) != entry.sha256:
        raise CheckpointError(f"pull: {file.name} of {name!r} is not the file that was pushed: its hash differs from "
                              f"that in {LISTED}; expected SHA-256 {entry.sha256}")


def _check_run(name: str, folder: Path) -> None:
    run = read_run(folder, whole=True)
    weights = sha256(folder / WEIGHTS)
    if run.get("status") not in USABLE or run.get("weights_sha256") != weights:
        raise CheckpointError(f"pull: {RUN_FILE} of {name!r} is not of these weights (SHA-256 {weights}); expected a "
                              "finished run")
    if _placeless(run["recipe"]) != run["recipe"]:  # commands would look there, or download, without being told to
        raise CheckpointError(f"pull: {RUN_FILE} of {name!r} names places on this machine; expected none")
    if not all(bool(tensor.isfinite().all()) for tensor in load_model(folder).state_dict().values()):
        raise CheckpointError(f"pull: {WEIGHTS} of {name!r} holds numbers that are not finite; expected a network that "
                              "answers")


@contextmanager
def _called(name: str, folder: Path) -> Iterator[None]:
    """Errors of the network name the repository, and not the folder that it is looked at in."""
    try:
        yield
    except CheckpointError as error:
        text = str(error).replace(str(folder), name).removeprefix("run: ").removeprefix("pull: ")
        raise CheckpointError(f"pull: {text}") from None
