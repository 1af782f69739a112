"""Pushing to a hub and pulling from it, with huggingface_hub itself and a small server of ours in the hub's place."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub")
import huggingface_hub

from rnabench.cli.main import COMMANDS
from tests.cli.test_cli import TRAIN, run
from tests.exchange.hub_server import HubServer, hub
from tests.helpers import visible

NAME = "someone/digits-rna"
NOBODY = "http://127.0.0.1:9"  # the port of `discard`, on which nothing answers


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert run(*TRAIN, "--space", "bn+in", "--out", str(folder)) == 0
    return folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    with hub() as started:
        reach(started.endpoint, monkeypatch, tmp_path)
        yield started


def reach(endpoint: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """As HF_ENDPOINT and HF_HOME would do, which are read when the library is imported."""
    monkeypatch.setattr(huggingface_hub, "HfApi", partial(huggingface_hub.HfApi, endpoint=endpoint))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(home / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def refused(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    assert run(*command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_pushed_and_pulled_by_revision(trained: Path, server: HubServer, tmp_path: Path,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    assert run("push", str(trained), NAME) == 0
    shown = capsys.readouterr().out
    revision = server.revision(NAME, "main")
    assert f"rnabench pull {NAME}@{revision}" in shown
    files = server.repositories[NAME][str(revision)]
    assert files.keys() == {".gitattributes", "model.safetensors", "run.json", "log.csv", "README.md", "files.json"}
    assert files["README.md"].startswith(b"---\nlibrary_name: rnabench\n")
    digest = hashlib.sha256(files["model.safetensors"]).hexdigest()
    assert json.loads(files["files.json"])["files"]["model.safetensors"]["sha256"] == digest
    server.commit(NAME, {"README.md": b"taken down"})
    assert "has no files.json" in refused(capsys, "pull", NAME, "--runs", str(tmp_path / "runs"))
    assert run("pull", f"{NAME}@{revision}", "--runs", str(tmp_path / "runs")) == 0
    pulled = tmp_path / "runs" / "digits-rna"
    assert visible(pulled) == {"model.safetensors", "run.json", "log.csv", "README.md"}
    assert not (pulled / ".cache").exists()
    assert (pulled / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()
    assert digest in capsys.readouterr().out


def test_in_a_process_of_its_own(trained: Path, server: HubServer, tmp_path: Path) -> None:
    """Where nothing but these commands has imported the library, and its own variables say where the hub is."""
    assert run("push", str(trained), NAME) == 0
    variables = {**os.environ, "HF_ENDPOINT": server.endpoint, "HF_HOME": str(tmp_path / "home")}
    pulled = subprocess.run([sys.executable, "-m", "rnabench", "pull", NAME], env=variables, capture_output=True,
                            text=True, cwd=tmp_path)
    assert pulled.returncode == 0, pulled.stderr
    assert (tmp_path / "runs" / "digits-rna" / "run.json").exists()
    assert visible(tmp_path) <= {"runs", "home"}


def test_a_push_takes_the_place_of_the_one_before_and_of_nothing_else(trained: Path, server: HubServer) -> None:
    server.repositories[NAME] = {}
    server.commit(NAME, {".gitattributes": b"", "notes.txt": b"mine", "model_info.json": b"{}", "log.csv": b"old"})
    assert run("push", str(trained), NAME) == 0
    files = server.repositories[NAME][str(server.revision(NAME, "main"))]
    assert files["notes.txt"] == b"mine"
    assert "model_info.json" not in files  # of the run before: this one was not attacked
    assert files["log.csv"] == (trained / "log.csv").read_bytes()


def test_a_hash_that_differs_leaves_nothing(trained: Path, server: HubServer, tmp_path: Path,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    assert run("push", str(trained), NAME) == 0
    files = dict(server.repositories[NAME][str(server.revision(NAME, "main"))])
    weights = bytearray(files["model.safetensors"])
    weights[-1] ^= 1
    server.commit(NAME, files | {"model.safetensors": bytes(weights)})
    capsys.readouterr()
    line = refused(capsys, "pull", NAME, "--runs", str(tmp_path / "runs"))
    assert line.startswith(f"error: pull: model.safetensors of {NAME!r} is not the file that was pushed")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("status", "told"), [(401, "refuses (401)"), (403, "refuses (403)"),
                                              (404, "no such repository"), (400, "answers with an error (400)")])
@pytest.mark.parametrize("command", ["push", "pull"])
def test_a_hub_that_refuses(command: str, status: int, told: str, trained: Path, server: HubServer, tmp_path: Path,
                            monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    server.refuses = status
    line = refused(capsys, command, *([str(trained)] if command == "push" else []), NAME)
    assert line.startswith(f"error: REPO_ID: {NAME!r}: the hub ")
    assert told in line
    assert server.asked
    assert not (tmp_path / "runs").exists()


def test_a_repository_or_a_revision_that_is_not_there(trained: Path, server: HubServer,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such repository or revision" in refused(capsys, "pull", NAME)
    assert run("push", str(trained), NAME) == 0
    assert "no such repository or revision" in refused(capsys, "pull", f"{NAME}@v2")
    assert "what is pushed is a new revision" in refused(capsys, "push", str(trained), f"{NAME}@v2")


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize("command", ["push", "pull"])
def test_a_hub_that_does_not_answer(command: str, offline: bool, trained: Path, tmp_path: Path,
                                    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    reach(NOBODY, monkeypatch, tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    started = time.monotonic()
    line = refused(capsys, command, *([str(trained)] if command == "push" else []), NAME)
    assert "the hub does not answer" in line
    assert time.monotonic() - started < 60


def test_without_the_library_a_folder_is_told_of(trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for command in (["push", str(trained)], ["pull"]):
        assert "`pip install 'rnabench[hub]'`, or a folder such as ./NAME" in refused(capsys, *command, NAME)
    assert run("push", str(trained), str(tmp_path / "folder")) == 0
    assert {"push", "pull"} <= COMMANDS.keys()
