"""A run shared with weights of half the size is another network: it says of which, and no number comes along."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rnabench import load_model
from rnabench.model.runs import read_run
from rnabench.runtime.files import sha256
from tests.cli.test_cli import ATTACK, TRAIN, run


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rounding") / "run"
    assert run(*TRAIN, "--space", "bn+in", "--out", str(folder)) == 0
    assert run("attack", str(folder), *ATTACK, "--attacks", "fgsm") == 0
    return folder


@pytest.fixture(scope="module")
def half(source: Path) -> Path:
    assert run("push", str(source), str(source.parent / "half"), "--bf16") == 0
    return source.parent / "half"


def test_its_weights_are_those_rounded_and_what_normalises_is_as_it_was(source: Path, half: Path) -> None:
    ours, kept = (load_model(folder).state_dict() for folder in (half, source))
    assert ours.keys() == kept.keys()
    for name, value in kept.items():
        is_image_scale = name in ("network.0.mean", "network.0.std")
        expected = value.bfloat16().to(value.dtype) if value.dim() > 1 and not is_image_scale else value
        assert torch.equal(ours[name], expected), name
    assert ours["network.0.std"].flatten().tolist() == pytest.approx(read_run(half)["model"]["std"], rel=1e-6)
    stored = load_file(half / "model.safetensors")
    assert {each.dtype for name, each in stored.items() if "conv" in name} == {torch.bfloat16}
    assert (half / "model.safetensors").stat().st_size < (source / "model.safetensors").stat().st_size


def test_it_says_of_which_and_has_no_numbers_of_it(source: Path, half: Path) -> None:
    said = read_run(half, whole=True)
    assert said["rounded"] == {"to": "bfloat16", "from_sha256": sha256(source / "model.safetensors")}
    assert said["weights_sha256"] == sha256(half / "model.safetensors") != said["rounded"]["from_sha256"]
    card = (half / "README.md").read_text()
    assert "Not attacked yet" in card
    assert said["rounded"]["from_sha256"] in card
    assert not (half / "model_info.json").exists()
    assert not (half / "log.csv").exists()
    assert "selected" not in said
    assert "rounded" not in read_run(source)


def test_it_is_attacked_pulled_and_pushed_on_as_what_it_is(half: Path, tmp_path: Path) -> None:
    assert run("pull", str(half), "--runs", str(tmp_path)) == 0
    pulled = tmp_path / "half"
    assert run("attack", str(pulled), *ATTACK, "--attacks", "fgsm") == 0
    for options in ([], ["--bf16"]):  # once more changes nothing
        again = tmp_path / f"again{len(options)}"
        assert run("push", str(pulled), str(again), *options) == 0
        assert "Not attacked yet" not in (card := (again / "README.md").read_text())
        assert card.count("rounded to bfloat16") == 2  # what was attacked, and what the weights are
        assert sha256(again / "model.safetensors") == sha256(half / "model.safetensors")
        assert read_run(again)["rounded"] == read_run(half)["rounded"]
        assert not (again / "recipe.yaml").exists()  # which would train another network


def test_it_is_not_taken_for_what_was_trained(half: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*TRAIN, "--space", "bn+in", "--out", str(half)) == 2
    assert "rounded" in capsys.readouterr().err
    assert run("runs", str(half.parent), "--json") == 0
    (listed,) = (each for each in json.loads(capsys.readouterr().out)["runs"] if Path(each["run"]).name == half.name)
    assert [listed[name] for name in ("state", "planned", "natural", "attacked")] == ["rounded", None, None, None]


@pytest.mark.parametrize("rounded", ["yes", {"to": "int8", "from_sha256": "0" * 64}, {"to": "bfloat16"},
                                     {"to": "bfloat16", "from_sha256": "<b>"}])
def test_a_damaged_one_is_told(rounded: object, half: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(half, tmp_path / "half"))
    said = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(said | {"rounded": rounded}))
    assert run("push", str(folder), str(tmp_path / "new")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "rounded" in line
    assert not (tmp_path / "new").exists()


def test_none_is_none(source: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(source, tmp_path / "run"))
    said = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(said | {"rounded": None}))
    assert run("attack", str(folder), *ATTACK, "--attacks", "fgsm") == 0
    assert run("push", str(folder), str(tmp_path / "new"), "--bf16") == 0
    assert read_run(tmp_path / "new")["rounded"]


def test_an_unfinished_run_is_refused_by_its_own_name(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                                      ) -> None:
    folder = Path(shutil.copytree(source, tmp_path / "begun"))
    said = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(said | {"status": "running"}))
    assert run("push", str(folder), str(tmp_path / "new"), "--bf16") == 2
    assert f"{str(folder)!r} is running" in capsys.readouterr().err
