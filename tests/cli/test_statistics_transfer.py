"""`rnabench statistics-transfer` as a user meets it: a network of one data set, class folders of another."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rnabench.report.record_file import read_study
from rnabench.settings.recipe_loading import load_recipe
from tests.cli.test_cli import TRAIN, run
from tests.helpers import visible

PROBE = ["--epochs", "2", "--batch-size", "8", "--device", "cpu"]
CLASSES = ("blue", "green", "red")


def class_folders(place: Path, classes: tuple[str, ...] = CLASSES, train: int = 6, test: int = 4, size: int = 16
                  ) -> Path:
    """Noise with a colour for each class."""
    random = np.random.default_rng(0)
    for split, count in (("train", train), ("test", test)):
        for number, name in enumerate(classes):
            (place / split / name).mkdir(parents=True)
            for image in range(count):
                pixels = random.integers(0, 128, (size, size, 3), dtype=np.uint8)
                pixels[..., number % 3] += 100
                Image.fromarray(pixels).save(place / split / name / f"{name}{image}.png")
    return place


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("colours"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for space in ("bn", "in", "bn+in"):
        assert run(*TRAIN, "--dataset", "digits16", "--objective", "standard", "--space", space, "--out",
                   str(folder / space)) == 0
    return folder


def test_a_network_of_digits_on_folders_of_colours(runs: Path, colours: Path, tmp_path: Path,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    command = ["statistics-transfer", str(runs / "bn"), "--dataset", "folder", "--data-dir", str(colours),
               "--dataset-name", "colours", *PROBE, "--out", str(tmp_path)]
    assert run(*command, "--max-minutes", "0.000001") == 3
    capsys.readouterr()
    assert run(*command) == 0
    said = capsys.readouterr()
    assert "bn: recomputed+affine" in said.out
    assert "colours, 12 test images" in said.out
    assert "resnet18 is meant for images of 32 pixels; these have 16" in said.err
    names = {f"statistics-transfer.{ending}" for ending in ("json", "csv", "md", "png", "svg")}
    assert visible(tmp_path) == names
    record = read_study(tmp_path / "statistics-transfer.json")
    assert record["data"]["classes"] == list(CLASSES)
    assert record["results"]["training"]["images"] == 18
    assert "eps" not in (tmp_path / "statistics-transfer.md").read_text()
    before = {name: (tmp_path / name).read_bytes() for name in names}
    assert run(*command) == 0
    assert {name: (tmp_path / name).read_bytes() for name in names} == before
    assert run("check", str(tmp_path), "--against", str(tmp_path)) == 0
    assert "4 cells compared: 4 pass" in capsys.readouterr().out
    content = json.loads((tmp_path / "statistics-transfer.json").read_text())
    content["results"]["networks"][0]["arms"][0].update(accuracy=1.0, low95=0.99, high95=1.0)
    other = tmp_path / "other" / "statistics-transfer.json"
    other.parent.mkdir()
    other.write_text(json.dumps(content))
    assert run("check", str(tmp_path), "--against", str(other)) == (
        record["results"]["networks"][0]["arms"][0]["accuracy"] < 0.9)


def test_some_arms_of_the_one_run_that_is_of_use(runs: Path, colours: Path, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--dataset", "folder", "--data-dir", str(colours), *PROBE]
    assert run("statistics-transfer", str(runs / "bn"), *where, "--arms", "affine,source", "--n-train", "10",
               "--n-examples", "5", "--augment", "--out", str(tmp_path)) == 0
    record = read_study(tmp_path / "statistics-transfer.json")
    assert [arm["arm"] for arm in record["results"]["networks"][0]["arms"]] == ["source", "affine"]
    assert record["results"]["training"]["images"] == 10
    assert len(record["data"]["indices"]) == 5
    assert record["data"]["name"] == "folder"


def test_a_recipe_with_another_data_set_to_test_on(colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                                   ) -> None:
    file = tmp_path / "tiny.yaml"
    head = ("name: tiny\ntitle: Tiny\ntable: []\n"
            "train: {dataset: digits16, objective: standard, width: 2, epochs: 1, n_train: 64, n_holdout: 32, "
            "batch_size: 32}\n"
            f"test: {{dataset: folder, data_dir: {colours}, dataset_name: colours}}\n")
    file.write_text(f"{head}models: {{bn: {{space: bn}}}}\n"
                    "figures: {table5: {study: statistics-transfer, epochs: 2, arms: [source, recomputed]}}\n")
    command = ["reproduce", str(file), "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "results")]
    assert run(*command, "--plan") == 0
    assert "table5" in capsys.readouterr().out
    assert run(*command) == 0
    assert read_study(tmp_path / "results" / "tiny" / "table5.json")["data"]["name"] == "colours"
    assert run(*command, "--plan") == 0
    assert "left: nothing" in capsys.readouterr().out
    file.write_text(f"{head}models: {{rna: {{space: bn+in}}}}\nfigures: {{a: {{study: statistics-transfer}}}}\n")
    with pytest.raises(Exception, match=r"figures.a.models: 'rna' is not valid; expected models with a single path"):
        load_recipe(file)
    file.write_text(f"{head}models: {{in: {{space: in}}}}\nfigures: {{a: {{study: statistics-transfer}}}}\n")
    assert run("reproduce", str(file), "--runs", str(tmp_path / "none")) == 2
    assert "figures.a: RUN: 'in' is not valid; expected a network with batch norm" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("space", "options", "expected"), [
    ("bn+in", [], "a network with a single path: this one is randomised"),
    ("in", [], "a network with batch normalisations"),
    ("bn", ["--arms", "sauce"], "did you mean 'source'?"),
    ("bn", ["--arms", "source,source"], "each once"),
    ("bn", ["--n-train", "19"], "n-train: 19 is not valid; expected at most 18"),
    ("bn", ["--lr", "0"], "--lr: 0.0 is not valid; expected a number greater than 0"),
    ("no", [], "run.json"),
])
def test_mistakes_get_one_line_and_leave_nothing(space: str, options: list[str], expected: str, runs: Path,
                                                 colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                                 ) -> None:
    out = tmp_path / "out"
    assert run("statistics-transfer", str(runs / space), "--dataset", "folder", "--data-dir", str(colours), *PROBE,
               *options, "--out", str(out)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1
    assert expected in error
    assert not out.exists() or not visible(out)


@pytest.mark.parametrize(("change", "expected"), [
    ("no train", "has no folder 'train'"), ("one class", "two classes or more: it has 1"),
    ("other classes", "the same classes in training and test images ('green' differs)"),
    ("one image", "has no images; expected some in every class folder"),
])
def test_folders_that_cannot_be_learnt_from(change: str, expected: str, runs: Path, tmp_path: Path,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    place = class_folders(tmp_path / "data", ("blue",) if change == "one class" else ("blue", "green"), 2, 2)
    if change == "no train":
        (place / "train").rename(place / "training")
    elif change == "other classes":
        (place / "test" / "green").rename(place / "test" / "grey")
    elif change == "one image":
        for file in [*(place / "train" / "green").iterdir(), place / "train" / "blue" / "blue0.png"]:
            file.unlink()
    assert run("statistics-transfer", str(runs / "bn"), "--dataset", "folder", "--data-dir", str(place), *PROBE) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert expected in error.replace("'grey'", "'green'")


def test_weights_of_another_network_are_refused(runs: Path, colours: Path, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.json").write_bytes((runs / "bn" / "run.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes((runs / "in" / "model.safetensors").read_bytes())
    assert run("statistics-transfer", str(tmp_path), "--dataset", "folder", "--data-dir", str(colours)) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "is not the file that this run wrote" in error
