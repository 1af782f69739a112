"""PGD-1, the inner attack of the thesis' smooth adversarial training, is a matter of settings."""

from __future__ import annotations

import torch

from rnabench import build_model
from rnabench.seeding import stream
from rnabench.settings.base import from_options
from rnabench.settings.training import TrainingSettings
from rnabench.training.step import TrainingStep


def test_one_step_of_eps_from_a_uniform_start_ends_on_the_boundary_for_every_other_pixel() -> None:
    """A start at u moves to u + eps or u - eps, and back to the ball: unlike FGSM's, changes are 3/4 eps on average."""
    recipe = from_options(TrainingSettings, {"space": "bn", "width": 4, "activation": "silu", "eps": "4/255",
                                             "step_size": "4/255", "steps": 1})
    model = build_model(**recipe.network)
    torch.nn.init.normal_(model.network[1].linear.weight, generator=stream(0))
    images, labels = torch.full((8, 3, 32, 32), 0.5), torch.arange(8)
    start = torch.rand(images.shape, generator=stream(1))
    path = model.space.sample(stream(2))
    adversarial = TrainingStep(model, recipe).adversarial(*TrainingStep(model, recipe).attack(), images, labels, path,
                                                          lambda *_: start)
    change = (adversarial - images).abs() / recipe.eps
    assert float(change.max()) < 1 + 1e-5
    assert abs(float((change > 1 - 1e-5).float().mean()) - 0.5) < 0.02
    assert abs(float(change.mean()) - 0.75) < 0.01
