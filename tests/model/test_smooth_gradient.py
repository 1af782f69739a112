"""The smooth gradient of ReLUs (the thesis, Table 5.1)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rnabench import build_model
from rnabench.data.batches import Batch
from rnabench.errors import InvalidSettings
from rnabench.model.smooth_gradient import smooth_gradient
from rnabench.seeding import stream
from rnabench.settings.base import from_options
from rnabench.settings.training import TrainingSettings
from rnabench.training.step import Drawn, TrainingStep

X = torch.linspace(-2, 2, 101, dtype=torch.float64)


@pytest.mark.parametrize("inplace", [False, True])
def test_values_are_relus_and_derivatives_sigma_of_10x(inplace: bool) -> None:
    network, x = nn.Sequential(nn.Identity(), nn.ReLU(inplace)), X.clone().requires_grad_()
    with smooth_gradient(network):
        result = network(x)
    assert torch.equal(result, X.relu())
    (slope,) = torch.autograd.grad(result.sum(), x, create_graph=True)  # also behind the block
    torch.testing.assert_close(slope, torch.sigmoid(10 * X))
    (curvature,) = torch.autograd.grad(slope.sum(), x)
    torch.testing.assert_close(curvature, 10 * torch.sigmoid(10 * X) * torch.sigmoid(-10 * X))
    assert type(network[1]) is nn.ReLU
    (plain,) = torch.autograd.grad(network(x + 0).sum(), x)
    assert torch.equal(plain, (X > 0).double())


def test_it_ends_with_the_block_whatever_happens() -> None:
    network = nn.Sequential(nn.ReLU())
    with pytest.raises(ZeroDivisionError), smooth_gradient(network):
        _ = 1 / 0
    assert type(network[0]) is nn.ReLU


def gradients(smooth: str) -> tuple[Tensor, Tensor]:
    """Adversarial images of a step, and the update's gradient of the first convolution on given images."""
    recipe = from_options(TrainingSettings, {"space": "bn", "width": 4, "steps": 1, "objective": "white-box",
                                             "smooth_gradient": smooth})
    model = build_model(**recipe.network).double()
    nn.init.normal_(model.network[1].linear.weight, generator=stream(0))
    images = torch.rand(8, 3, 16, 16, generator=stream(1), dtype=torch.float64)
    labels = torch.randint(10, (8,), generator=stream(2))
    step = TrainingStep(model, recipe)
    drawn = step.draw(Batch(images, labels, list(range(8))), 0, 0)
    assert drawn.start is not None
    start = drawn.start
    adversarial = step.adversarial(*step.attack(), images, labels, drawn.trained, lambda *_: start)
    loss, _ = step.loss(images, labels, Drawn(drawn.trained), *step.attack())  # without another attack
    loss.backward()  # type: ignore[no-untyped-call]
    gradient = model.network[1].conv1.weight.grad
    assert gradient is not None
    return adversarial, gradient


def test_the_setting_says_which_passes_have_it() -> None:
    found = {smooth: gradients(smooth) for smooth in ("none", "attack", "update", "both")}
    for place, alike in enumerate((({"none", "update"}, {"attack", "both"}), ({"none", "attack"}, {"update", "both"}))):
        for first, one in found.items():
            for second, other in found.items():
                same = any({first, second} <= group for group in alike)
                assert torch.equal(one[place], other[place]) == same, (place, first, second)


def test_without_a_relu_there_is_nothing_to_smooth() -> None:
    with pytest.raises(InvalidSettings, match=r"--smooth-gradient: 'both' is not valid; expected 'none': .*'silu'"):
        from_options(TrainingSettings, {"activation": "silu", "smooth_gradient": "both"})
    assert from_options(TrainingSettings, {"activation": "relu+silu", "smooth_gradient": "both"}).options == 2
