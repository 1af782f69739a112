"""A run pushed to a folder and pulled from it is the same network; what is not such a run leaves nothing."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save

from rnabench import load_model
from rnabench.errors import RnabenchError
from rnabench.exchange import parcel
from rnabench.exchange.parcel import take
from rnabench.exchange.released import released_state
from rnabench.exchange.repository import Folder
from rnabench.model.factory import build_model
from tests.cli.test_cli import ATTACK, TRAIN, run
from tests.damage import MANY, assert_told, damaged
from tests.helpers import visible

FILES = {"model.safetensors", "run.json", "log.csv", "README.md", "files.json"}
CARD = {"model_info.json", "recipe.yaml"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("private-place") / "run"
    assert run(*TRAIN, "--space", "bn+in", "--out", str(folder)) == 0
    (folder / "state.pt").write_bytes(b"the optimiser's")
    return folder


@pytest.fixture(scope="module")
def pushed(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared") / "digits-rna"
    assert run("push", str(trained), str(folder)) == 0
    return folder


@pytest.fixture
def parcel_of(pushed: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(pushed, tmp_path / "parcel"))


def listed_anew(folder: Path) -> None:
    """The list of files as whoever damaged them would write it."""
    files = {file.name: {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "bytes": file.stat().st_size}
             for file in folder.iterdir() if file.name != "files.json" and file.is_file()}
    (folder / "files.json").write_text(json.dumps({"format": 1, "files": files}))


def edited(folder: Path, change: Callable[[dict[str, Any]], object], name: str = "run.json") -> None:
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))


def refused(folder: Path, where: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line; nothing is left of the run, nor of the folder of runs."""
    runs = where / "runs"
    assert run("pull", str(folder), "--runs", str(runs)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert not runs.exists()
    assert ".tmp" not in line
    return line


def test_what_is_pulled_is_the_network_that_was_pushed(trained: Path, pushed: Path, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    assert {file.name for file in pushed.iterdir()} == FILES
    monkeypatch.chdir(pushed.parent)
    for said in ("pulled", "is there already"):
        assert run("pull", f"./{pushed.name}", "--runs", str(tmp_path / "runs")) == 0
        assert said in capsys.readouterr().out
    pulled = tmp_path / "runs" / pushed.name
    assert visible(pulled) == FILES - {"files.json"}
    first, second = load_model(trained).state_dict(), load_model(pulled).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first | second)
    assert run("attack", str(pulled), *ATTACK, "--attacks", "fgsm", "--out", str(tmp_path / "out")) == 0
    assert run("runs", str(tmp_path / "runs")) == 0
    assert run("push", str(pulled), str(tmp_path / "again")) == 0  # and can be shared on
    for name in ("run.json", "model.safetensors", "log.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (pushed / name).read_bytes()


def test_the_card_goes_with_it_and_no_place_does(trained: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(trained, tmp_path / "source"))
    edited(source, lambda said: said["recipe"].update(data_dir=str(tmp_path / "data"), download=True,
                                                             init=str(tmp_path / "start.pth")))
    assert run("attack", str(trained), *ATTACK, "--attacks", "fgsm", "--out", str(source / "attack-x")) == 0
    assert run("push", str(source), str(tmp_path / "shared")) == 0
    assert {file.name for file in (tmp_path / "shared").iterdir()} == FILES | CARD
    card = (tmp_path / "shared" / "README.md").read_text()
    assert "fgsm" in card
    assert "rnabench pull ./shared" in card
    assert json.loads((trained / "run.json").read_text())["weights_sha256"] in card
    for file in (tmp_path / "shared").iterdir():
        content = file.read_bytes()
        for place in (tmp_path, trained.parent, Path.home(), Path.cwd()):
            assert f"{place}/".encode() not in content, (file.name, place)
            assert f'{place}"'.encode() not in content, (file.name, place)
    said = json.loads((tmp_path / "shared" / "run.json").read_text())
    assert "execution" not in said
    assert [said["recipe"][name] for name in ("data_dir", "download", "init")] == [None, False, "start.pth"]
    assert run("pull", str(tmp_path / "shared"), "--runs", str(tmp_path / "runs")) == 0
    assert visible(tmp_path / "runs" / "shared") == FILES - {"files.json"} | CARD


@pytest.mark.parametrize("name", sorted(FILES - {"files.json"}))
def test_a_changed_byte_is_seen(name: str, parcel_of: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                ) -> None:
    content = bytearray((parcel_of / name).read_bytes())
    content[len(content) // 2] ^= 1
    (parcel_of / name).write_bytes(content)
    line = refused(parcel_of, tmp_path, capsys)
    assert line.startswith(f"error: pull: {name} of ")
    assert "its hash differs" in line


def of_another_network(folder: Path) -> None:
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)


def with_weights(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    edited(folder, lambda said: said.update(weights_sha256=hashlib.sha256(content).hexdigest()))


def unpickled(folder: Path) -> None:
    with_weights(folder, pickle.dumps({"a": 1}))


def not_finite(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    with_weights(folder, save({name: value / 0 if value.is_floating_point() else value
                               for name, value in weights.items()}))


@pytest.mark.parametrize(("change", "told"), [
    (of_another_network, "is not of these weights"),
    (not_finite, "holds numbers that are not finite"),
    (unpickled, "is truncated or not a safetensors file"),
    (lambda folder: edited(folder, lambda said: said.update(status="training")), "is not of these weights"),
    (lambda folder: edited(folder, lambda said: said.pop("weights_sha256")), "is not of these weights"),
    (lambda folder: edited(folder, lambda said: said["model"].update(width=4)), "holds weights of another network"),
    (lambda folder: edited(folder, lambda said: said["model"].update(width="4")), "is damaged (model.width"),
    (lambda folder: edited(folder, lambda said: said["recipe"].update(data_dir="/etc")), "names places"),
    (lambda folder: edited(folder, lambda said: said["recipe"].update(download=True)), "names places"),
    (lambda folder: edited(folder, lambda said: said["recipe"].update(teacher={"data_dir": "/etc"})), "names places"),
    (lambda folder: edited(folder, lambda said: said["recipe"].update(teacher={"teacher": 5})),
     "is damaged (recipe.teacher.teacher"),
    (lambda folder: edited(folder, lambda said: said["recipe"].update(init=5)), "is damaged (recipe.init"),
    (lambda folder: (folder / "run.json").write_text("{"), "cannot be read"),
    (lambda folder: (folder / "run.json").unlink(), "has no run.json"),
    (lambda folder: (folder / "model.safetensors").unlink(), "has no model.safetensors"),
    (lambda folder: (folder / "state.pt").write_text("x"), "files.json of"),
])
def test_a_stranger_who_lists_the_files_anew_gains_nothing(change: Callable[[Path], object], told: str, parcel_of: Path,
                                                           tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(parcel_of)
    listed_anew(parcel_of)
    line = refused(parcel_of, tmp_path, capsys)
    assert line.startswith("error: pull: ")
    assert told in line


@pytest.mark.parametrize("name", ["../run.json", "/etc/passwd", "attack/record.json", "state.pt"])
def test_only_files_of_a_run_are_taken(name: str, parcel_of: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                       ) -> None:
    edited(parcel_of, lambda said: said["files"].update({name: said["files"]["run.json"]}), "files.json")
    assert "files.json of" in refused(parcel_of, tmp_path, capsys)


@given(st.data())
@MANY
def test_a_damaged_list_is_refused_in_words(pushed: Path, tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    listing = json.loads((pushed / "files.json").read_text())
    content = data.draw(damaged(listing))
    for file in pushed.iterdir():
        if file.name != "files.json":
            os.link(file, folder / file.name)
    (folder / "files.json").write_text(json.dumps(content))
    try:
        take(Folder(folder), folder / "runs" / "run")
    except RnabenchError as error:
        assert_told(error)
        assert not (folder / "runs").exists()
    else:
        assert content["files"].keys() <= listing["files"].keys()


def test_what_is_too_large_is_not_even_read(parcel_of: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(parcel.MOST_BYTES, "log.csv", 10)
    monkeypatch.setattr(Folder, "fetch", lambda self, name, folder, real=Folder.fetch: (
        real(self, name, folder) if name == "files.json" else pytest.fail(name)))
    assert "expected at most 10" in refused(parcel_of, tmp_path, capsys)
    (parcel_of / "files.json").write_text(" " * 100_000)
    assert "has no files.json" in refused(parcel_of, tmp_path, capsys)


@pytest.mark.parametrize("make", [lambda file: os.mkfifo(file), lambda file: file.symlink_to("/etc/passwd"),
                                  lambda file: file.mkdir()])
def test_only_plain_files_are_taken(make: Callable[[Path], None], parcel_of: Path, tmp_path: Path,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    (parcel_of / "log.csv").unlink()
    make(parcel_of / "log.csv")
    assert "has no log.csv" in refused(parcel_of, tmp_path, capsys)


def test_another_run_of_that_name_is_kept(parcel_of: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs" / "parcel").mkdir(parents=True)
    (tmp_path / "runs" / "parcel" / "run.json").write_text("mine")
    assert run("pull", str(parcel_of), "--runs", str(tmp_path / "runs")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --runs: ")
    assert (tmp_path / "runs" / "parcel" / "run.json").read_text() == "mine"
    assert visible(tmp_path / "runs") == {"parcel"}


def test_what_cannot_be_pushed(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unfinished = Path(shutil.copytree(trained, tmp_path / "unfinished"))
    edited(unfinished, lambda said: said.update(status="training"))
    changed = Path(shutil.copytree(trained, tmp_path / "changed"))
    of_another_network(changed)
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").touch()
    for source, target, told in ((unfinished, "new", "expected a finished run"), (changed, "new", "its hash differs"),
                                 (tmp_path / "absent", "new", "has no run.json"),
                                 (trained, "full", "a new or an empty folder"),
                                 (trained, "full/mine/x", "cannot write"),
                                 (trained, "x" * 300, f"cannot write '{tmp_path / ('x' * 300)}': File name too long")):
        assert run("push", str(source), str(tmp_path / target)) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert told in line
    assert not (tmp_path / "new").exists()
    assert visible(full) == {"mine"}


def test_a_recipe_to_do_it_again_names_no_folder_of_weights(tmp_path: Path) -> None:
    """Also where the file that a training started from is there, so that the recipe can be written."""
    torch.save(released_state(build_model("resnet18", "bn", width=2), "resnet18"), tmp_path / "start.pth")
    assert run(*TRAIN, "--space", "bn", "--init", str(tmp_path / "start.pth"), "--out", str(tmp_path / "run")) == 0
    assert run("attack", str(tmp_path / "run"), *ATTACK, "--attacks", "fgsm") == 0
    assert run("push", str(tmp_path / "run"), str(tmp_path / "shared")) == 0
    assert "init: start.pth" in (tmp_path / "shared" / "recipe.yaml").read_text()
    for file in (tmp_path / "shared").iterdir():
        assert f"{tmp_path}/".encode() not in file.read_bytes(), file.name


def test_the_card_is_of_these_weights(trained: Path, tmp_path: Path) -> None:
    """A network that was trained anew has not the numbers of the one that was attacked before."""
    source = Path(shutil.copytree(trained, tmp_path / "source"))
    assert run("attack", str(source), *ATTACK, "--attacks", "fgsm", "--out", str(source / "attack-x")) == 0
    for told in ("fgsm", "Not attacked yet"):
        shared = tmp_path / f"shared {told == 'fgsm'}"
        assert run("push", str(source), str(shared)) == 0
        assert told in (card := (shared / "README.md").read_text())
        assert f"\nrnabench pull './{shared.name}'\n" in card
        edited(source, lambda said: said["model"].update(weights_sha256="0" * 64), "attack-x/record.json")


@pytest.mark.parametrize("change", [lambda said: said.pop("weights_sha256"),
                                    lambda said: said["recipe"].update(data_dir="/etc")])
def test_what_lies_there_already_is_looked_at_too(change: Callable[[dict[str, Any]], object], parcel_of: Path,
                                                  tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edited(parcel_of, change)
    listed_anew(parcel_of)
    shutil.copytree(parcel_of, tmp_path / "runs" / "parcel")
    assert run("pull", str(parcel_of), "--runs", str(tmp_path / "runs")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: pull: run.json of ")


def test_links_in_a_circle_and_private_folders_are_told(trained: Path, tmp_path: Path,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for arguments, told in ((["pull", str(tmp_path / "loop")], "REPO_ID: "),
                            (["push", str(trained), str(tmp_path / "loop")], "REPO_ID: "),
                            (["push", str(trained), str(tmp_path / "new"), "--private"], "--private: ")):
        assert run(*arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {told}")
    assert not (tmp_path / "new").exists()
