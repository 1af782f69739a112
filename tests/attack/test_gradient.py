"""PGD stays where it must, and EOT finds the known mean gradient."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rnabench import build_model
from rnabench.attack.estimators import expectation, frozen_parameters, input_gradient, one_path
from rnabench.attack.gradient import PGD
from rnabench.attack.threat import Linf
from rnabench.path.path import Path
from rnabench.path.space import PathSpace
from rnabench.seeding import ExampleStreams, stream


class TwoPaths:
    """Logits w_p · x for two classes: the gradient on each path, and so its mean, is known in closed form."""

    space = PathSpace(("only",), (("a", "b"),))
    weights = torch.tensor([[3.0, -1.0, 0.5], [-1.0, -1.0, 2.0]])

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        chosen = torch.tensor([row[0] for row in path.rows])

        def logits(images: Tensor) -> Tensor:
            score = (images.flatten(1) * self.weights[chosen]).sum(1)
            return torch.stack([score, -score], 1)

        return logits

    def gradient(self, images: Tensor, row: int) -> Tensor:
        """d/dx of cross-entropy with label 0: -2 w (1 - sigmoid(2 w·x))."""
        w = self.weights[row]
        return -2 * w * (1 - torch.sigmoid(2 * images.flatten(1) @ w))[:, None]


IMAGES = torch.rand(5, 3, 1, 1, generator=torch.Generator().manual_seed(0))
LABELS = torch.zeros(5, dtype=torch.int64)


@pytest.mark.parametrize("granularity", ["batch", "sample"])
def test_eot_converges_to_the_mean_gradient(granularity: str) -> None:
    toy = TwoPaths()
    expected = (toy.gradient(IMAGES, 0) + toy.gradient(IMAGES, 1)) / 2
    errors = []
    for samples in (20, 4000):
        generator, streams = stream(0, "eot"), ExampleStreams(0, "eot", indices=range(5))

        def draw(repeats: int, generator: torch.Generator = generator, streams: ExampleStreams = streams) -> Path:
            return toy.space.sample_each(streams, repeats) if granularity == "sample" else toy.space.sample(generator)

        estimated = expectation(toy, draw, samples, most_pixels=64)(IMAGES, LABELS)
        errors.append(float((estimated.flatten(1) - expected).abs().max()))
        spread = float((toy.gradient(IMAGES, 0) - toy.gradient(IMAGES, 1)).abs().max()) / 2
        assert errors[-1] < 4 * spread / samples**0.5  # four standard errors of a fair coin
    assert errors[1] < errors[0]


def test_one_path_is_that_paths_gradient() -> None:
    toy = TwoPaths()
    for row in (0, 1):
        gradient = one_path(toy, Path.of(row))(IMAGES, LABELS)
        torch.testing.assert_close(gradient.flatten(1), toy.gradient(IMAGES, row))


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 6), st.booleans(), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_pgd_stays_in_the_ball_and_in_the_unit_cube(eps: float, step: float, steps: int, start: bool, seed: int
                                                    ) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(3, 3, 2, 2, generator=generator).round(decimals=1)  # with pixels of exactly 0 and 1
    noise = torch.rand(images.shape, generator=generator)
    attack = PGD(Linf(eps), step, steps, random_start=start)
    moved = attack(lambda x, y: torch.randn(x.shape, generator=generator), images, torch.zeros(3), noise)
    assert float((moved - images).abs().max()) <= eps + 1e-6
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1


def test_fgsm_is_its_formula() -> None:
    toy = TwoPaths()
    attack = PGD(Linf(0.1), 0.1, 1, random_start=False)
    expected = (IMAGES + 0.1 * toy.gradient(IMAGES, 0).sign().view_as(IMAGES)).clamp(0, 1)
    torch.testing.assert_close(attack(one_path(toy, Path.of(0)), IMAGES, LABELS), expected)


def test_pgd_maximises_a_linear_loss_over_the_ball() -> None:
    direction = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    images = torch.full_like(direction, 0.5)
    found = PGD(Linf(0.2), 0.05, 10)(lambda x, y: direction, images, torch.zeros(2), torch.rand_like(images))
    torch.testing.assert_close(found, images + 0.2 * direction.sign())


@pytest.mark.parametrize("training", [True, False])
def test_attacks_leave_everything_as_it_was(training: bool) -> None:
    model = build_model("resnet18", "bn+in", width=2).train(training)
    model.network[1].linear.weight.requires_grad_(False)  # as the user set it
    asked = [p.requires_grad for p in model.parameters()]
    images, labels = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    modes = [m.training for m in model.modules()]
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    drawn, random_state = model.generator.get_state(), torch.random.get_rng_state()
    from rnabench.norm.layers import frozen_statistics

    with frozen_parameters(model), frozen_statistics(model):
        draw = lambda repeats: model.space.sample(torch.Generator().manual_seed(1))  # noqa: E731
        for estimate in (one_path(model, draw(1)), expectation(model, draw, 2)):
            PGD(Linf(0.1), 0.05, 2)(estimate, images, labels, torch.full_like(images, 0.3))
    assert [m.training for m in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == asked
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())
    assert torch.equal(model.generator.get_state(), drawn)
    assert torch.equal(torch.random.get_rng_state(), random_state)


def test_per_example_gradients_do_not_mix() -> None:
    model = build_model("resnet18", "bn+in", width=2).double().eval()
    torch.nn.init.normal_(model.network[1].linear.weight)
    images, labels = torch.rand(3, 3, 32, 32, dtype=torch.float64), torch.tensor([0, 1, 2])
    view = model.on(Path.of(*[1] * 20))
    together = input_gradient(view, images, labels)
    alone = torch.cat([input_gradient(view, images[k : k + 1], labels[k : k + 1]) for k in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-8, atol=1e-12)
