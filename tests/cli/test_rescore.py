"""`rnabench rescore` as a reviewer meets it: a claim that holds, another network, and one line for what is wrong."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from rnabench.report.record import Result
from rnabench.report.record_file import read_record, write_record
from rnabench.report.scores import judged
from rnabench.runtime.files import sha256
from tests.cli.test_cli import TRAIN, run
from tests.helpers import visible

ATTACK = ["--attacks", "fgsm,pgd2", "--protocols", "eot:2,same-path", "--n-examples", "20", "--draws", "3", "--device",
          "cpu", "--no-sanity", "--keep-images"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, one of them attacked."""
    folder = tmp_path_factory.mktemp("made")
    assert run(*TRAIN, "--out", str(folder / "runs" / "drawn")) == 0
    assert run(*TRAIN, "--space", "bn", "--out", str(folder / "runs" / "plain")) == 0
    assert run("attack", str(folder / "runs" / "drawn"), *ATTACK, "--out", str(folder / "out")) == 0
    return folder


@pytest.fixture
def there(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the record and its images, in a folder from which the runs are seen."""
    shutil.copytree(made / "out", tmp_path / "out")
    (tmp_path / "runs").symlink_to(made / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "out"


def images(folder: Path) -> Path:
    return min((folder / "record.images").iterdir())


def drawn(what: str = "tries") -> set[str]:
    """What is written of a randomised network besides its table: a page, and a figure with its numbers."""
    return {f"{what}.{ending}" for ending in ("csv", "png", "svg")} | ({"randomness.md"} if what == "tries" else set())


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_a_claim_is_checked_and_holds(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert visible(there) - drawn("passes") == {"record.json", "record.images", "table.csv", "table.md"} | drawn()
    capsys.readouterr()
    assert run("rescore", "out/record.json", "--seed", "0", "--out", "found") == 0
    shown = capsys.readouterr().out
    assert "PASS 6 numbers rescored: 6 agree" in shown
    assert all(row["accuracy"] == row["record_accuracy"] and float(row["change"]) == 0 for row in rows(
        Path("found/rescored.csv")))
    assert "**PASS**" in Path("found/rescored.md").read_text()
    assert run("rescore", "out/record.json", "--draws", "9") == 0
    assert "9 draws, seed 1" in capsys.readouterr().out


def test_one_file_of_images_is_one_cell(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("rescore", str(images(there)), "--out", "found") == 0
    assert [(row["attack"], row["protocol"]) for row in rows(Path("found/rescored.csv"))] == [("fgsm", "eot:2")]


def test_another_network_is_shown_beside_and_claims_nothing(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("rescore", "out/record.json", "--run", "runs/plain", "--out", "found") == 0
    shown = capsys.readouterr().out
    assert "scored on plain" in shown
    assert "the record claims nothing of another network" in shown
    by_protocol = {(row["attack"], row["protocol"]): row for row in rows(Path("found/rescored.csv"))}
    assert by_protocol["fgsm", "same-path"]["accuracy"] == ""
    assert "another network" in by_protocol["fgsm", "same-path"]["reason"]
    assert 0 <= float(by_protocol["fgsm", "eot:2"]["accuracy"]) <= 1
    assert run("rescore", "out/record.json", "--model", "tests.cli.models:linear") == 0


def test_anybodys_network_is_known_again_and_never_imported_by_a_records_word(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    named = ["--model", "tests.cli.models:noisy"]
    assert run("attack", *named, "--attacks", "fgsm", "--protocols", "eot:2", "--n-examples", "8", "--draws", "3",
               "--device", "cpu", "--no-sanity", "--keep-images", "--out", "out") == 0
    assert run("rescore", "out/record.json", *named, "--seed", "0", "--out", "found") == 0
    assert [(row["own_network"], float(row["change"])) for row in rows(Path("found/rescored.csv"))] == [("True", 0)] * 2
    capsys.readouterr()
    assert run("rescore", "out/record.json") == 2
    assert "--model: missing" in capsys.readouterr().err


def test_a_network_that_was_called_with_something_else_is_another(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its weights and its source are the same; what its factory is called with is told by options."""
    monkeypatch.chdir(tmp_path)
    named = ["--model", "tests.cli.models:noisier", "--model-args"]
    assert run("attack", *named, "deviation=0.5", "--attacks", "fgsm", "--protocols", "eot:2", "--n-examples", "8",
               "--draws", "3", "--device", "cpu", "--no-sanity", "--keep-images", "--out", "out") == 0
    for deviation, own in ((0.5, "True"), (0.6, "False")):
        assert run("rescore", "out/record.json", *named, f"deviation={deviation}", "--seed", "0", "--out", "found") == 0
        assert {row["own_network"] for row in rows(Path("found/rescored.csv"))} == {own}
    capsys.readouterr()
    assert run("rescore", "out/record.json", "--model-args", "deviation=0.5") == 2
    assert "expected --model with it" in capsys.readouterr().err


def test_a_claim_that_does_not_hold_has_exit_code_1(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def lucky(result: Result) -> Result:
        old = record.outcome(result)
        return Result.of(replace(old, correct=np.ones_like(old.correct)), result.draws_are, result.parameters
                         ).model_copy(update={"kept_images": result.kept_images})

    record = read_record(there / "record.json")
    write_record(judged(record.model_copy(update={"results": [
        lucky(result) if result.kept_images else result for result in record.results]})), there / "record.json")
    assert run("rescore", "out/record.json") == 1
    shown = capsys.readouterr().out
    assert "FAIL" in shown
    assert "no (p" in shown


def changed(file: Path, **tensors: np.ndarray) -> None:  # type: ignore[type-arg]
    with safe_open(file, "np") as opened:  # type: ignore[no-untyped-call]
        metadata = opened.metadata()
    save_file(load_file(file) | tensors, file, metadata)


def named_anew(folder: Path) -> None:
    """The record names the hash that the file has now."""
    file, kept = folder / "record.json", images(folder)
    record = json.loads(file.read_text())
    for result in record["results"]:
        if result.get("kept_images", {}).get("file", "").endswith(kept.name):
            result["kept_images"]["sha256"] = sha256(kept)
    file.write_text(json.dumps(record))


def break_(what: str, folder: Path) -> list[str]:
    """Break something; the arguments with which it is met."""
    file, record = images(folder), folder / "record.json"
    match what:
        case "cut":
            file.write_bytes(file.read_bytes()[:-5])
        case "text":
            file.write_text("not a tensor")
        case "gone":
            file.unlink()
        case "pixels" | "far" | "outside":
            kept = load_file(file)["images"]
            kept[0] += {"pixels": 1e-6, "far": 0.3 * (1 - 2 * (kept[0] > 0.5)), "outside": 2}[what]
            changed(file, images=kept)
        case "other images":
            changed(file, indices=load_file(file)["indices"] + 1)
        case "other labels":
            changed(file, labels=load_file(file)["labels"] + 1)
        case "other size":
            kept = load_file(file)
            changed(file, images=kept["images"][..., 1:], change=kept["change"][..., 1:])
        case "other record":
            record.write_text(record.read_text().replace(json.loads(record.read_text())["digest"], "0" * 12))
        case "no images":
            content = json.loads(record.read_text())
            for result in content["results"]:
                result.pop("kept_images", None)
            record.write_text(json.dumps(content))
        case "other number":
            content = json.loads(record.read_text())
            content["results"][1]["accuracy"] = content["results"][1]["interval95"][1] = 1.0
            record.write_text(json.dumps(content))
        case "larger eps":
            content = json.loads(record.read_text())
            content["threat"]["eps"] *= 2
            content["headline"] = None  # which rests on attacks at the record's eps: reading it would tell already
            record.write_text(json.dumps(content))
        case "alone":
            record.unlink()
            return [str(file)]
    if what in ("far", "outside", "other images", "other labels", "other size"):
        named_anew(folder)
    return [str(record)]


@pytest.mark.parametrize(("what", "said"), [
    ("cut", "damaged"), ("text", "damaged"), ("gone", "is not there"), ("pixels", "it was changed"),
    ("far", "expected at most eps"), ("outside", "not in [0, 1]"), ("other images", "other images than its record"),
    ("other labels", "with the labels"), ("other size", "of the size"),
    ("other number", "as its outcomes say"), ("larger eps", "contradicts itself: fgsm / "),
    ("other record", "has record"), ("no images", "--keep-images"), ("alone", "beside no record"),
])
def test_what_is_wrong_with_files_is_one_line_and_nothing_is_written(
        what: str, said: str, there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = break_(what, there)
    capsys.readouterr()
    assert run("rescore", *arguments, "--out", "found") == 2
    captured = capsys.readouterr()
    (line,) = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert line == captured.err.splitlines()[-1]
    assert said in line
    assert captured.out == ""
    assert not Path("found").exists()


@pytest.mark.parametrize(("arguments", "said"), [
    (["--run", "runs/absent"], "run.json"),
    (["--runs", "nowhere"], "record's weights"),
    (["--model", "no.such:network"], "--model"),
    (["--model", "tests.cli.models:seven_classes"], "7 classes"),
    (["--run", "runs/plain", "--model", "a:b"], "either"),
    (["--draws", "0"], "--draws"), (["--draws", "many"], "--draws"), (["--seed", "-1"], "--seed"),
])
def test_what_is_wrong_with_the_network_or_an_option_is_one_line(
        arguments: list[str], said: str, there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("rescore", "out/record.json", *arguments, "--out", "found") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert not Path("found").exists()


def test_another_data_set_is_one_line(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads((there / "record.json").read_text())
    record["evaluation"] |= {"n_examples": None, "indices": ",".join(map(str, record["data"]["indices"][:19]))}
    (there / "record.json").write_text(json.dumps(record))
    assert run("rescore", "out/record.json", "--out", "found") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected the images that were attacked" in line
    assert not Path("found").exists()


def test_recipes_share_records_and_their_images(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = ("title: T\ntrain: {width: 2, steps: 1, epochs: 1, n_train: 64, n_holdout: 32, batch_size: 32}\n"
            "models: {net: {space: bn+in}}\nevaluate: {attacks: [fgsm], protocols: [paper], n_examples: 8, draws: 2, "
            "sanity: false%s}\n")
    monkeypatch.chdir(tmp_path)
    for name, more, options in (("one", ", keep_images: true", []), ("two", "", ["--keep-images"])):
        Path(f"{name}.yaml").write_text(f"name: {name}\n" + text % more)
        assert run("reproduce", f"{name}.yaml", *options) == 0
        assert run("rescore", f"results/{name}/net.json") == 0
    assert visible(Path("results/one")) == {"net.json", "net.images", "table.csv", "table.md"} | drawn()
    assert visible(Path("results/two")) == {"net.json", "table.csv", "table.md"} | drawn()
