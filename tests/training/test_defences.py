"""Training with random defences: recorded as run as it comes, another draw for the update than for the attack."""

from __future__ import annotations

import pytest
import torch

from rnabench import build_model
from rnabench.data.batches import Batch
from rnabench.jobs.durations import training_flops
from rnabench.seeding import stream
from rnabench.settings.base import from_options
from rnabench.settings.training import TrainingSettings
from rnabench.training.step import TrainingStep
from rnabench.training.update import CapturedUpdate, Update


def recipe(defence: str, **more: object) -> TrainingSettings:
    return from_options(TrainingSettings, {"arch": "resnet20", "width": 2, "space": "bn", "steps": 1, "batch_size": 6,
                                           "defence": defence, **more})


def batch(number: int) -> Batch:
    generator = stream(0, "batch", number)
    return Batch(torch.rand(6, 3, 16, 16, generator=generator), torch.randint(0, 10, (6,), generator=generator),
                 list(range(6 * number, 6 * number + 6)))


@pytest.mark.parametrize("granularity", ["batch", "sample"])
@pytest.mark.parametrize("defence", ["smoothing0.1", "rse", "rpf", "sap", "ensemble2"])
def test_recorded_it_changes_the_network_as_when_run(defence: str, granularity: str) -> None:
    settings, states = recipe(defence, granularity=granularity), []
    for kind in (Update, CapturedUpdate):
        model = build_model(**settings.network, seed=1).train()
        update = kind(TrainingStep(model, settings))
        for number in range(3):
            update(batch(number), 0, number, 0.05)
        states.append(model.state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("objective", "same"), [("black-box", False), ("white-box", True)])
def test_the_objective_says_whether_the_attacked_draw_is_trained(objective: str, same: bool) -> None:
    step = TrainingStep(build_model(**(settings := recipe("input-noise", objective=objective)).network), settings)
    drawn = [step.draw(batch(number), 0, number) for number in range(3)]
    assert all((each.attacked == each.trained) == same for each in drawn)
    assert len({each.trained for each in drawn}) == 3


def test_the_arithmetic_of_a_training_counts_one_draw_of_noise() -> None:
    plain, smoothed = (training_flops(build_model(**settings.network).eval(), 16, settings)
                       for settings in (recipe("none"), recipe("smoothing")))
    assert smoothed == plain
