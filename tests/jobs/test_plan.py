"""A plan before the data is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnabench.errors import DataUnavailable
from rnabench.jobs.plan import Piece, forecast
from rnabench.jobs.reproduce import Place
from rnabench.settings.recipe_loading import load_recipe
from tests.cli.test_cli import run

TEXT = """name: tiny
title: Tiny
train: {dataset: %s, data_dir: data, width: 2, steps: 1, epochs: %d, n_holdout: 1000}
models: {bn: {space: bn}, bn+in: {space: bn+in}}
evaluate: {attacks: [fgsm], protocols: [paper], draws: 2, sanity: false, n_examples: %d}
figures: {matrix: {study: transfer-matrix, models: [bn, bn+in], attack: fgsm, n_examples: 100}}
"""


def plan(folder: Path, dataset: str = "cifar10", epochs: int = 1, images: int = 100, **data: object) -> list[Piece]:
    file = folder / "tiny.yaml"
    file.write_text(TEXT % (dataset, epochs, images))
    return forecast(load_recipe(file, None, {"data_dir": str(folder / "data"), **data}),
                    Place(folder / "runs", folder / "results", "cpu"))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **keys: object) -> None:
        raise AssertionError("a plan fetches nothing")

    monkeypatch.setattr("torchvision.datasets.CIFAR10.download", refuse)


@pytest.mark.parametrize("download", [False, True])
def test_it_says_what_is_missing_and_counts_as_published(download: bool, tmp_path: Path) -> None:
    pieces = plan(tmp_path, download=download)
    assert [(piece.kind, piece.name) for piece in pieces] == [
        ("data", "cifar10"), ("train", "bn"), ("train", "bn+in"), ("attack", "bn"), ("attack", "bn+in"),
        ("study", "matrix")]
    data, *work = pieces
    assert data.state == "missing"
    for said in (str(tmp_path / "data"), "--download", "50,000 training and 10,000 test images"):
        assert said in data.note
    assert all(piece.seconds > 0 for piece in work)
    assert {file.name for file in tmp_path.iterdir()} == {"tiny.yaml"}  # nothing was made or fetched


def test_twice_the_epochs_and_more_images_than_were_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rnabench.evaluation.cost import Speed

    monkeypatch.setattr("rnabench.jobs.durations.speed", lambda *_: Speed(1.0, 0.5))
    once, twice = plan(tmp_path), plan(tmp_path, epochs=2, images=1_000_000)
    whole = plan(tmp_path, images=10_000)
    assert once[1].seconds >= 2 * 50_000
    assert twice[1].seconds == 2 * once[1].seconds
    assert twice[3].seconds == whole[3].seconds == 100 * once[3].seconds


def test_class_folders_of_ones_own_have_no_published_size(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match="has no folder 'train'"):
        plan(tmp_path, "folder")


def test_on_screen_and_without_the_plan_it_is_an_error_as_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                                                 ) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TEXT % ("cifar10", 1, 100))
    command = ["reproduce", str(file), "--data-dir", str(tmp_path / "data"), "--runs", str(tmp_path / "runs"), "--out",
               str(tmp_path / "out")]
    assert run(*command, "--plan") == 0
    shown = capsys.readouterr().out
    assert "missing" in shown
    assert "left: about" in shown
    assert run(*command) == 2
    assert "holds no complete cifar10" in capsys.readouterr().err
