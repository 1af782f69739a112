"""What a training tells of itself while it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

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

    def advance(self, images: int, note: str = "") -> None:
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
