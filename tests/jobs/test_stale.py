"""What older algorithms made is never taken for today's: it is kept and called stale, or made anew when asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rnabench.attack.gradient import FGSM
from rnabench.jobs.plan import Piece, forecast
from rnabench.jobs.reproduce import Place, Reproduced, reproduce
from rnabench.report.origin import origin_lines
from rnabench.report.record_file import read_record
from rnabench.report.staleness import reasons
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import StopRequest
from rnabench.settings import algorithms
from rnabench.settings.recipe import Recipe
from rnabench.settings.recipe_loading import load_recipe
from rnabench.studies.path_difference import PathDifference
from tests.helpers import visible
from tests.report.records import changed

TEXT = """\
name: tiny
title: Tiny
train: {width: 2, steps: 1, epochs: 1, n_train: 32, n_holdout: 16, batch_size: 32}
models: {bn+in: {space: bn+in}}
evaluate: {attacks: [fgsm], protocols: [paper], n_examples: 4, batch_size: 4, draws: 2, sanity: false}
figures: {curve: {study: path-difference, models: [bn+in], attack: fgsm, n_examples: 4, batch_size: 4, pairs: 2}}
"""


class Listening(Silent):
    """Hears the lines, and which pieces of work begin."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.begun: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def begin(self, title: str, total: int, done: int = 0) -> None:
        self.begun.append(title)


class Work:
    """A recipe that has been reproduced in a folder."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.recipe, self.folder = recipe, folder

    def again(self, refresh: bool = False) -> tuple[Reproduced, Listening]:
        heard = Listening()
        found = reproduce(self.recipe, self.recipe, self.place(refresh), heard, StopRequest())
        return found, heard

    def plan(self, refresh: bool = False) -> list[Piece]:
        return forecast(self.recipe, self.place(refresh))

    def place(self, refresh: bool = False) -> Place:
        return Place(self.folder / "runs", self.folder / "results" / "tiny", "cpu", refresh)

    def contents(self) -> dict[str, bytes]:
        """All files that hold numbers."""
        return {file.name: file.read_bytes() for pattern in ("*.json", "*.safetensors")
                for file in self.folder.rglob(pattern)}

    def record(self, name: str = "bn+in") -> Any:
        return json.loads(self.place().record(name).read_text())


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Work:
    folder = tmp_path_factory.mktemp("reproduced")
    (folder / "tiny.yaml").write_text(TEXT)
    found = Work(load_recipe(folder / "tiny.yaml"), folder)
    found.again()
    return found


@pytest.fixture
def work(reproduced: Work, tmp_path: Path) -> Work:
    shutil.copytree(reproduced.folder, tmp_path, dirs_exist_ok=True)
    return Work(reproduced.recipe, tmp_path)


def test_today_all_is_done(work: Work) -> None:
    assert [(piece.state, piece.stale) for piece in work.plan()] == [("done", False)] * 3
    found, heard = work.again(refresh=True)
    assert not heard.begun
    assert not any("stale" in line for line in heard.lines)
    assert origin_lines([*found.table.values(), *found.figures.values()]) == []
    assert [line.split(" made ")[0] for line in heard.lines if " made " in line] == [
        "bn+in: taken over:", "curve: taken over:"]


def test_after_an_attack_has_changed_its_numbers_are_stale(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record, and the study that attacks like that; the network is what it was."""
    before = work.contents()
    monkeypatch.setattr(FGSM, "version", FGSM.version + 1)
    why = f"fgsm {FGSM.version - 1}, now {FGSM.version}"
    assert [piece.state for piece in work.plan()] == ["done", f"stale: {why}", f"stale: {why}"]
    assert all(piece.stale and piece.seconds > 0 for piece in work.plan()[1:])

    found, heard = work.again()
    assert not heard.begun
    assert work.contents() == before
    for name, record in (*found.table.items(), *found.figures.items()):
        assert f"{name}: stale ({why}), and kept: --refresh makes it anew" in heard.lines
        assert reasons(record) == [why]
        assert any(line.startswith("WARN") and why in line for line in origin_lines([record]))

    assert not any(piece.stale for piece in work.plan(refresh=True))
    heard = work.again(refresh=True)[1]
    assert any("fgsm" in title for title in heard.begun)
    assert f"bn+in: stale ({why}): made anew" in heard.lines
    assert [piece.state for piece in work.plan()] == ["done"] * 3
    assert work.record()["algorithms"]["fgsm"] == FGSM.version
    changed = {name for name, content in work.contents().items() if content != before[name]}
    assert changed == {"bn+in.json", "curve.json"}


def test_after_training_has_changed_the_networks_and_all_that_rests_on_them_are(
        work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    before, folder = work.contents(), work.folder / "runs" / min(visible(work.folder / "runs"))
    monkeypatch.setattr(algorithms, "TRAINING", algorithms.TRAINING + 1)
    why = f"training {algorithms.TRAINING - 1}, now {algorithms.TRAINING}"
    assert [piece.state for piece in work.plan()] == [
        f"stale: {why}", f"stale: its network: {why}", f"stale: its network: {why}"]
    heard = work.again()[1]
    assert not heard.begun
    assert any(line.startswith("already trained") and f"stale ({why})" in line for line in heard.lines)
    assert work.contents() == before

    work.again(refresh=True)
    assert [piece.state for piece in work.plan()] == ["done"] * 3
    assert json.loads((folder / "run.json").read_text())["algorithms"]["training"] == algorithms.TRAINING
    assert visible(work.folder / "runs") == {folder.name}  # a recipe's name is what it was


def test_a_study_has_a_version_of_its_own(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PathDifference, "version", PathDifference.version + 1)
    assert [piece.stale for piece in work.plan()] == [False, False, True]


def test_a_stale_record_of_a_folder_beside_is_not_adopted(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = Place(work.folder / "runs", work.folder / "results" / "other", "cpu")
    assert forecast(work.recipe, beside)[1].state == "done"
    monkeypatch.setattr(algorithms, "SCORING", algorithms.SCORING + 1)
    assert forecast(work.recipe, beside)[1].state == "0 of 2 cells"


def test_records_from_before_there_were_versions_are_stale(work: Work) -> None:
    for name in ("bn+in", "curve"):
        record = work.record(name)
        for key in ("algorithms", "settings_digest", "made", "made_by"):
            del record[key]
        work.place().record(name).write_text(json.dumps(record | {"digest": "0" * 12}))
    before = work.contents()
    assert [piece.state for piece in work.plan()] == ["done", *["stale: made before algorithms had versions"] * 2]
    heard = work.again()[1]
    assert not heard.begun
    assert work.contents() == before
    work.again(refresh=True)
    assert [piece.state for piece in work.plan()] == ["done"] * 3


def test_another_evaluation_is_not_stale_but_another(work: Work) -> None:
    file = work.folder / "tiny.yaml"
    file.write_text(TEXT.replace("draws: 2", "draws: 3"))
    assert forecast(load_recipe(file), work.place())[1].state == "0 of 2 cells"


def test_a_network_that_was_trained_elsewhere_is_not_stale(work: Work) -> None:
    record = read_record(work.place().record("bn+in"))
    assert reasons(changed(record, model={"training": {"git": None, "versions": None}})) == []
    training = work.record()["model"]["training"] | {"algorithms": None}
    why = ["its network: made before algorithms had versions"]
    assert reasons(changed(record, model={"training": training})) == why
