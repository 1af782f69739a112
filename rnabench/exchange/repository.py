"""Where runs are shared: a repository of a model hub, or a plain folder."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Protocol

from rnabench import __version__
from rnabench.errors import LONGEST_SHOWN, InvalidValue, RnabenchError
from rnabench.runtime.files import atomic_folder, writing

OWNER_AND_NAME = re.compile(r"([A-Za-z0-9][\w.-]{0,95}/([A-Za-z0-9][\w.-]{0,95}))(?:@([\w./-]{1,200}))?", re.ASCII)
FORMS = "OWNER/NAME of the hub (to pull also OWNER/NAME@REVISION), or a folder such as ./NAME"


class Repository(Protocol):
    """`name` is what lines call it, `stem` what a run is called that comes from it, `address` how others name it."""

    name: str
    stem: str
    address: str

    def sizes(self) -> dict[str, int]:
        """Its files' sizes in bytes, by name."""

    def fetch(self, name: str, folder: Path) -> None:
        """Put one of its files into a folder, under its name."""

    def tidy(self, folder: Path) -> None:
        """Remove what `fetch` left there besides files."""

    def publish(self, folder: Path, names: Sequence[str]) -> str:
        """Put all files of a folder into it at once, in the place of those of `names` that it has; returns what names
        this version."""


def repository(text: str, private: bool = False) -> Repository:
    """What a user names. Raises InvalidValue."""
    if text.startswith(("file:", ".", "~")) or Path(text).is_absolute():
        if private:
            raise InvalidValue("--private", private, "OWNER/NAME of the hub with it: who may read a folder is for its "
                               "permissions to say")
        try:
            return Folder(Path(text.removeprefix("file:").removeprefix("//")).expanduser())
        except (OSError, RuntimeError) as error:  # no such user, or links that lead in a circle
            raise InvalidValue("REPO_ID", text, f"{FORMS} ({error})") from None
    if (named := OWNER_AND_NAME.fullmatch(text)) is None:
        raise InvalidValue("REPO_ID", text, FORMS)
    return Hub(named[1], named[2], named[3], private)


class Folder:
    """A folder of this machine, to be copied on by other means."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name, self.stem = folder, str(folder), folder.resolve().name
        self.address = f"./{self.stem}"  # wherever others have it

    def sizes(self) -> dict[str, int]:
        try:
            return {entry.name: entry.stat().st_size for entry in os.scandir(self.folder)
                    if entry.is_file(follow_symlinks=False)}
        except OSError as error:
            raise InvalidValue("REPO_ID", self.name, f"{FORMS} ({error.strerror})") from None

    def fetch(self, name: str, folder: Path) -> None:
        with writing(folder / name):
            shutil.copyfile(self.folder / name, folder / name)

    def tidy(self, folder: Path) -> None: ...

    def publish(self, folder: Path, names: Sequence[str]) -> str:
        with writing(self.folder):
            if self.folder.exists() and not (self.folder.is_dir() and not any(self.folder.iterdir())):
                raise InvalidValue("REPO_ID", self.name, "a new or an empty folder")
        with atomic_folder(self.folder) as place, writing(self.folder):
            for file in folder.iterdir():
                shutil.copyfile(file, place / file.name)
        return ""


class Hub:
    """A repository of models on the Hugging Face Hub, or on another with its interface (HF_ENDPOINT). Who may read and
    write it is for the library to know (`hf auth login`, HF_TOKEN)."""

    def __init__(self, name: str, stem: str, revision: str | None, private: bool) -> None:
        try:
            library, its_logging = map(import_module, ("huggingface_hub", "huggingface_hub.utils.logging"))
        except ImportError as error:
            raise RnabenchError(f"REPO_ID: {name!r} needs the package 'huggingface_hub', which cannot be imported "
                                f"({error}); expected `pip install 'rnabench[hub]'`, or a folder such as ./NAME"
                                ) from None
        its_logging.set_verbosity_error()  # each of its attempts would be a line
        self.api = library.HfApi(library_name="rnabench", library_version=__version__)
        self.name = self.address = name
        self.stem, self.revision, self.private = stem, revision, private

    def sizes(self) -> dict[str, int]:
        with self._answering():
            found = self.api.model_info(self.name, revision=self.revision, files_metadata=True)
            self.revision = found.sha  # what is looked at now is what is fetched, whoever pushes meanwhile
            return {file.rfilename: file.size for file in found.siblings or () if isinstance(file.size, int)}

    def fetch(self, name: str, folder: Path) -> None:
        with self._answering():
            self.api.hf_hub_download(self.name, name, revision=self.revision, local_dir=folder)

    def tidy(self, folder: Path) -> None:
        shutil.rmtree(folder / ".cache", ignore_errors=True)  # the library's notes on what it fetched

    def publish(self, folder: Path, names: Sequence[str]) -> str:
        if self.revision is not None:
            raise InvalidValue("REPO_ID", f"{self.name}@{self.revision}", "OWNER/NAME: what is pushed is a new "
                               "revision")
        with self._answering():
            self.api.create_repo(self.name, repo_type="model", private=self.private or None, exist_ok=True)
            commit = self.api.upload_folder(  # one commit: nobody sees half of it
                repo_id=self.name, folder_path=folder, commit_message="A run of rnabench",
                delete_patterns=list(names))
            return str(commit.oid)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Whatever the library raises, its own errors and those of the layers below it, is one line of ours."""
        try:
            yield
        except RnabenchError:
            raise
        except Exception as error:
            raise RnabenchError(f"REPO_ID: {self.name!r}: {_why(error)}") from error


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "no space left on the device"
    status = getattr(getattr(error, "response", None), "status_code", None)
    said = f"{type(error).__name__}: {' '.join(str(error).split())}"[:LONGEST_SHOWN]
    if type(error).__name__ in ("RepositoryNotFoundError", "RevisionNotFoundError") or status == 404:
        return ("the hub has no such repository or revision, or it is private; expected one that this account may "
                "read: log in with `hf auth login`, or set HF_TOKEN")
    if status in (401, 403):
        return (f"the hub refuses ({status}); expected a repository that this account may use so: log in with `hf auth "
                "login`, or set HF_TOKEN")
    if status is not None:
        return f"the hub answers with an error ({status}); expected one that works; said: {said}"
    return f"the hub does not answer; expected a connection to it, or a folder such as ./NAME; said: {said}"
