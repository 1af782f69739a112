"""Model selection: every epoch is judged by the same sixteen attack paths and the same predicting ones."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path as Folder

import pytest
import torch
from torch import Tensor

from rnabench.data.batches import ResidentSource
from rnabench.model.factory import build_model
from rnabench.path.path import Path
from rnabench.runtime.stopping import Stopped
from rnabench.settings.base import from_options
from rnabench.settings.training import TrainingSettings
from rnabench.training import holdout
from rnabench.training.holdout import HOLDOUT_BATCH, HOLDOUT_PATHS, holdout_accuracy
from rnabench.training.step import TrainingStep
from tests.helpers import AfterSteps, random_images
from tests.training.test_training import run


def test_every_epoch_is_judged_by_the_same_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """One to four paths that changed from epoch to epoch made the luckiest epoch the best one."""
    model = build_model("resnet18", "bn+in", width=2)
    training_step = TrainingStep(model, from_options(TrainingSettings, {"space": "bn+in", "width": 2, "steps": 1}))
    source = ResidentSource(random_images(40, size=32), torch.device("cpu"))
    used: list[Path] = []
    original = type(model).on

    def spy(self: object, path: Path) -> Callable[[Tensor], Tensor]:
        used.append(path)
        return original(self, path)  # type: ignore[arg-type, no-any-return]

    monkeypatch.setattr(type(model), "on", spy)
    scores, paths = [], []
    for _ in range(2):
        used.clear()
        scores.append(holdout_accuracy(model, training_step, source))
        paths.append(list(used))
    assert scores[0] == scores[1]  # the network did not change, and so nothing else
    assert paths[0] == paths[1]
    attacked, predicting = paths[0][0], paths[0][1]
    assert len(set(attacked.rows)) == HOLDOUT_PATHS
    assert len(set(predicting.rows)) == HOLDOUT_PATHS
    assert not set(attacked.rows) & set(predicting.rows)


def test_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model("resnet18", "bn+in", width=2)
    training_step = TrainingStep(model, from_options(TrainingSettings, {"space": "bn+in", "width": 2, "steps": 1,
                                                            "attack_mode": "eval"}))
    # initial weights leave the logits so close that rounding would decide
    torch.nn.init.normal_(model.network[1].linear.weight, generator=torch.Generator().manual_seed(0))
    source = ResidentSource(random_images(40, size=32), torch.device("cpu"))
    whole = holdout_accuracy(model, training_step, source)
    assert HOLDOUT_BATCH > 7
    monkeypatch.setattr("rnabench.training.holdout.HOLDOUT_BATCH", 7)
    assert holdout_accuracy(model, training_step, source) == pytest.approx(whole)


def test_an_epoch_that_is_being_judged_goes_on_there(tmp_path: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after every step and after every batch of held-out images: none is looked at twice."""
    monkeypatch.setattr(holdout, "HOLDOUT_BATCH", 8)
    whole, stops = run(tmp_path / "whole", epochs=1), 0
    while True:
        try:
            parts = run(tmp_path / "parts", AfterSteps(0), epochs=1)
            break
        except Stopped:
            stops += 1
    assert (parts, stops) == (whole, 3 + 4)
    first, second = (next(csv.DictReader((tmp_path / name / "log.csv").open())) for name in ("whole", "parts"))
    assert first | {"images_per_second": ""} == second | {"images_per_second": ""}
