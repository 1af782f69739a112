"""A run.json in which something was changed: its network is loaded, or the file is refused in words, at once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnabench.errors import CheckpointError, RnabenchError
from rnabench.jobs.runs import HEADINGS, list_runs
from rnabench.jobs.target import load_run
from rnabench.jobs.train import stale_reasons, train
from rnabench.model.runs import read_run
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import Stopped, StopRequest
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.training import TrainingSettings
from tests.damage import MANY, assert_told, damaged, nested

KEYS = EvaluationSettings.model_validate({"n_examples": 4})
SETTINGS = TrainingSettings.model_validate({
    "arch": "resnet18", "width": 1, "epochs": 1, "steps": 1, "n_train": 32, "n_holdout": 8, "batch_size": 16})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(SETTINGS, folder, Silent(), StopRequest(), "cpu")
    return folder


def content_of(run: Path) -> Any:
    return json.loads((run / "run.json").read_text())


def with_content(run: Path, folder: Path, content: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(run / "model.safetensors", folder)
    (folder / "run.json").write_text(json.dumps(content))
    return folder


@MANY
@given(st.data())
def test_a_damaged_run_is_refused_or_loaded(run: Path, tmp_path: Path, data: st.DataObject) -> None:
    folder = with_content(run, tmp_path / "run", data.draw(damaged(content_of(run))))
    for use in (lambda: load_run(folder, {}, KEYS, "cpu"), lambda: stale_reasons(read_run(folder)),
                lambda: train(SETTINGS, folder, Silent(), StopRequest(max_minutes=1e-9), "cpu")):
        try:
            use()
        except RnabenchError as error:
            assert_told(error)
        except Stopped:  # it would be trained on
            pass
    (row,) = list_runs(folder)
    assert len(row) == len(HEADINGS)


def test_all_faults_are_told_at_once_with_file_and_key(run: Path, tmp_path: Path) -> None:
    content = content_of(run)
    content["model"]["width"], content["model"]["std"] = 10**6, [0.1, 0, "x"]
    del content["digest"], content["data"], content["recipe"]["objective"]
    with pytest.raises(CheckpointError) as caught:
        load_run(with_content(run, tmp_path, content), {}, KEYS, "cpu")
    assert repr(str(tmp_path / "run.json")) in str(caught.value)
    for key in ("model.width: 1000000 is not valid; expected at most 1024", "model.std.1: 0 ", "model.std.2: 'x' ",
                "digest: missing", "data: missing", "recipe.objective: missing"):
        assert key in str(caught.value)
    assert_told(caught.value, lines=1)


@pytest.mark.parametrize(("part", "key", "value", "said"), [
    ("model", "width", 1024, "another network"), ("model", "arch", "resnet81", r"run\.json.*model\.arch.*did you mean"),
    ("model", "space", "bn+gm4", r"run\.json.*model\.space"),
    ("recipe", "dataset", "digitz", r"run\.json.*recipe\.dataset"),
    ("recipe", "data_dir", "there", r"run\.json.*recipe\.data_dir"), ("data", "name", 5, r"run\.json.*data\.name"),
    ("device", "threads", "two", r"run\.json.*training\.device\.threads"),
    ("model", "paths", "many", r"run\.json.*model\.paths"), ("model", "extra", nested(300), "nested"),
])
def test_faults_are_the_files_and_not_an_options(part: str, key: str, value: Any, said: str, run: Path, tmp_path: Path
                                                 ) -> None:
    """Also before a network is built that would not fit into memory."""
    content = content_of(run)
    content[part][key] = value
    with pytest.raises(RnabenchError, match=said) as caught:
        load_run(with_content(run, tmp_path, content), {}, KEYS, "cpu")
    assert str(caught.value).startswith("run: ")
    assert_told(caught.value, lines=1)
