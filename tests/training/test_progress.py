"""What a training tells of itself while it runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rnabench.jobs.durations import training_passes
from rnabench.jobs.train import train
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import Stopped, StopRequest
from rnabench.settings.base import from_options
from rnabench.settings.training import TrainingSettings
from tests.helpers import AfterSteps


class Bar(Silent):
    """How far a bar would be, each time that it moves."""

    def __init__(self) -> None:
        self.shown: list[float] = []

    def begin(self, title: str, total: int, done: int = 0) -> None:
        self.total, self.done = total, done
        self.shown.append(done / total)

    def advance(self, images: float, note: str = "") -> None:
        self.done += images
        self.shown.append(self.done / self.total)


def test_progress_goes_from_nothing_to_all_and_never_back(tmp_path: Path) -> None:
    """Also where the run was stopped within its second epoch, and goes on."""
    recipe = from_options(TrainingSettings, {"space": "bn", "width": 2, "objective": "standard", "steps": 1,
                                             "epochs": 3, "batch_size": 16, "n_train": 64, "n_holdout": 16})
    bar = Bar()
    with pytest.raises(Stopped):
        train(recipe, tmp_path, bar, AfterSteps(6), "cpu")
    stopped_at = bar.shown[-1]
    assert 1 / 3 < stopped_at < 2 / 3
    again = Bar()
    train(recipe, tmp_path, again, StopRequest(), "cpu")
    assert (bar.shown[0], again.shown[0], again.shown[-1]) == (0, stopped_at, 1)
    assert bar.shown + again.shown == sorted(bar.shown + again.shown)


ONE_STEP = {"space": "bn+in", "width": 2, "steps": 8, "epochs": 1, "batch_size": 32, "n_train": 32, "n_holdout": 16}


def test_progress_moves_within_a_step(tmp_path: Path) -> None:
    """By the steps of the inner attack, and those of the attack on held-out images."""
    bar = Bar()
    train(from_options(TrainingSettings, ONE_STEP), tmp_path, bar, StopRequest(), "cpu")
    assert len({share for share in bar.shown if 0 < share < 32 / 48}) >= 8
    assert len({share for share in bar.shown if 32 / 48 < share < 1}) >= 8
    assert bar.shown == sorted(bar.shown)
    assert bar.shown[-1] == 1


def test_to_say_how_long_it_takes_changes_no_weight_and_no_random_number(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = from_options(TrainingSettings, ONE_STEP | {"track_attack_stats": True, "epochs": 2})
    lines: list[str] = []

    class Heard(Silent):
        def line(self, text: str) -> None:
            lines.append(text)

    before = torch.random.get_rng_state()
    train(recipe, tmp_path / "told", Heard(), StopRequest(), "cpu")
    assert torch.equal(torch.random.get_rng_state(), before)
    monkeypatch.setattr("rnabench.jobs.train._duration", lambda *_: "")
    train(recipe, tmp_path / "silent", Silent(), StopRequest(), "cpu")
    assert any(line.startswith("takes ") for line in lines[:2])  # before the first epoch
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("told", "silent"))
    assert first == second


def test_what_is_left_takes_as_long_as_there_are_steps() -> None:
    few = from_options(TrainingSettings, ONE_STEP)
    many = from_options(TrainingSettings, ONE_STEP | {"steps": 17})
    assert training_passes(few, 48, 2) == 2 * training_passes(few, 48, 1) > 0
    assert training_passes(many, 48, 1) - training_passes(few, 48, 1) == 9 * 48
    standard = from_options(TrainingSettings, ONE_STEP | {"objective": "standard"})
    assert training_passes(standard, 48, 1) < training_passes(few, 48, 1) / 2
