"""Fixed-step gradient attacks stay where they must and are their formulas."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rnabench import build_model
from rnabench.attack.attack import Attack
from rnabench.attack.estimators import Estimate, Expectation, OnePath, frozen_parameters
from rnabench.attack.gradient import BIM, FGSM, MIFGSM, PGD, Steps
from rnabench.attack.threat import L2, Linf, Threat, lengths
from rnabench.norm.layers import frozen_statistics
from rnabench.path.path import Path
from tests.attack.toys import IMAGES, LABELS, MIDDLE, DeafToDark, GivenGradients, TwoPaths, noise, silence
from tests.helpers import lively_model

SIZES = {"step_size": st.floats(0, 1), "steps": st.integers(1, 6)}


@given(st.sampled_from([Linf, L2]), st.floats(0, 1), st.one_of(
    st.just(FGSM()), st.builds(PGD, **SIZES), st.builds(BIM, **SIZES),
    st.builds(MIFGSM, decay=st.sampled_from([0.0, 1.0]), **SIZES)), st.integers(0, 99))
@settings(deadline=None, max_examples=80)
def test_every_version_stays_in_the_ball_and_in_the_unit_cube(
    ball: type[Linf] | type[L2], eps: float, attack: Attack, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(3, 3, 2, 2, generator=generator).round(decimals=1)  # with pixels of exactly 0 and 1
    moved = attack.run(GivenGradients(lambda x: torch.randn(x.shape, generator=generator)), images, torch.zeros(3),
                       noise(3, seed), ball(eps))
    change = moved - images
    assert float(change.abs().max() if ball is Linf else lengths(change).max()) <= eps + 1e-6
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1


@given(st.sampled_from([Linf, L2]), st.floats(0.01, 1), st.floats(0, 3), st.integers(0, 99))
def test_projection_leaves_allowed_images_alone_and_moves_others_no_further_than_needed(
    ball: type[Linf] | type[L2], eps: float, far: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(3, 3, 2, 2, generator=generator)
    candidate = (images + far * torch.randn(images.shape, generator=generator)).clamp(0, 1)
    threat, change = ball(eps), candidate - images
    found = threat.project(candidate, images)
    torch.testing.assert_close(threat.project(found, images), found)
    length = change.abs().amax((1, 2, 3)) if ball is Linf else lengths(change).flatten()
    within = length <= eps
    torch.testing.assert_close(found[within], candidate[within])
    if ball is L2:  # the nearest point of a ball is on the way to its centre
        nearest = images + change * (eps / length.clamp_min(eps)).view(-1, 1, 1, 1)
        torch.testing.assert_close(found, nearest)


def test_fgsm_is_its_formula() -> None:
    toy = TwoPaths()
    expected = (IMAGES + 0.1 * toy.gradient(IMAGES, 0).sign().view_as(IMAGES)).clamp(0, 1)
    torch.testing.assert_close(FGSM().run(OnePath(toy, Path.of(0)), IMAGES, LABELS, silence, Linf(0.1)), expected)


def test_l2_fgsm_moves_by_eps_along_the_gradient() -> None:
    toy = TwoPaths()
    found = FGSM().run(OnePath(toy, Path.of(0)), MIDDLE, LABELS, silence, L2(0.1))
    change, gradient = (found - MIDDLE).flatten(1), toy.gradient(MIDDLE, 0)
    torch.testing.assert_close(change, 0.1 * gradient / gradient.norm(dim=1, keepdim=True))


def test_bim_starts_at_the_image_and_needs_no_noise() -> None:
    asked: list[Tensor] = []

    def following(images: Tensor) -> Tensor:
        asked.append(images.clone())
        return torch.ones_like(images)

    found = BIM(steps=3, step_size=0.05).run(GivenGradients(following), MIDDLE, LABELS, silence, Linf(0.2))
    assert torch.equal(asked[0], MIDDLE)
    torch.testing.assert_close(found, MIDDLE + 0.15)


@pytest.mark.parametrize(("uniform", "moved"), [(0.0, -0.1), (0.5, 0.0), (0.75, 0.05)])
def test_pgd_starts_where_its_noise_says(uniform: float, moved: float) -> None:
    found = PGD(steps=1).run(GivenGradients(torch.zeros_like), MIDDLE, LABELS,
                             lambda *shape: torch.full((5, *shape), uniform), Linf(0.1))
    torch.testing.assert_close(found, MIDDLE + moved)


@pytest.mark.parametrize("threat", [Linf(0.2), L2(0.25)])
def test_pgd_maximises_a_linear_loss_over_the_ball(threat: Threat) -> None:
    direction = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    images = torch.full_like(direction, 0.5)
    optimum = direction.sign() * 0.2 if isinstance(threat, Linf) else direction / lengths(direction) * 0.25
    found = PGD(steps=60, step_size=0.05).run(GivenGradients(lambda x: direction), images, torch.zeros(2), noise(2),
                                              threat)
    torch.testing.assert_close(found, images + optimum, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
def test_mifgsm_is_its_formula(decay: float) -> None:
    toy, start = TwoPaths(), MIDDLE.flatten(1)
    x, momentum = start, torch.zeros(5, 3)
    for _ in range(4):
        gradient = toy.gradient(x, 1)
        momentum = decay * momentum + gradient / (gradient.abs().sum(1, keepdim=True) / 3)
        x = torch.minimum(torch.maximum(x + 0.04 * momentum.sign(), start - 0.1), start + 0.1)
    found = MIFGSM(steps=4, step_size=0.04, decay=decay).run(OnePath(toy, Path.of(1)), MIDDLE, LABELS, silence,
                                                             Linf(0.1))
    torch.testing.assert_close(found.flatten(1), x)


@pytest.mark.parametrize(("decay", "moved"), [(2.0, 0.1), (0.5, 0.0)])
def test_momentum_carries_a_step_on_after_the_gradient_has_turned(decay: float, moved: float) -> None:
    gradients = iter((3.0, -70.0))  # both count as 1 once scaled, so that a decay of 2 outweighs the second
    found = MIFGSM(steps=2, step_size=0.05, decay=decay).run(
        GivenGradients(lambda x: torch.full_like(x, next(gradients))), MIDDLE, LABELS, silence, Linf(1.0))
    torch.testing.assert_close(found, MIDDLE + moved)


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.1)], ids=["linf", "l2"])
@pytest.mark.parametrize("attack", [MIFGSM(steps=4, step_size=0.05), BIM(steps=4, step_size=0.05)],
                         ids=["mifgsm", "bim"])
def test_an_image_without_a_gradient_stays_while_its_neighbours_move(attack: Steps, threat: Threat) -> None:
    images = torch.full((3, 3, 2, 2), 0.7)
    images[1] = 0.2
    found = attack.run(OnePath(DeafToDark(), Path.of()), images, torch.zeros(3, dtype=torch.int64), silence, threat)
    assert torch.equal(found[1], images[1])
    assert bool((found[[0, 2]] < images[[0, 2]]).all())  # towards the other class; NaN would fail too


def test_the_result_of_restarts_is_the_strongest_of_the_single_runs() -> None:
    model = lively_model("bn")
    estimator = OnePath(model, model.space.sample(torch.Generator()))
    images = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    labels, numbers = estimator.mean_logits(images).argmax(1), noise(12)
    single, threat = PGD(steps=3, step_size=0.01), Linf(0.03)
    # one after another from the same stream
    runs = [single.run(estimator, images, labels, numbers, threat) for _ in range(4)]
    found = PGD(steps=3, step_size=0.01, restarts=4).run(estimator, images, labels, noise(12), threat)

    def strength(candidate: Tensor) -> Estimate:
        return estimator.estimate(candidate, labels, gradient=False)

    best = strength(found)
    for run in map(strength, runs):
        assert bool(((best.wrong > run.wrong) | ((best.wrong == run.wrong) & (best.loss >= run.loss))).all())
    assert bool(torch.stack([(found == run).flatten(1).all(1) for run in runs]).any(0).all())
    assert all(not torch.equal(found, run) for run in runs)  # no run alone is the strongest for every image


@pytest.mark.parametrize("training", [True, False])
def test_attacks_leave_everything_as_it_was(training: bool) -> None:
    model = build_model("resnet18", "bn+in", width=2).train(training)
    model.network[1].linear.weight.requires_grad_(False)  # as the user set it
    asked = [p.requires_grad for p in model.parameters()]
    images, labels = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    modes, before = [m.training for m in model.modules()], images.clone()
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    drawn, random_state = model.generator.get_state(), torch.random.get_rng_state()

    with frozen_parameters(model), frozen_statistics(model):
        draw = lambda repeats: model.space.sample(torch.Generator().manual_seed(1))  # noqa: E731
        for estimator in (OnePath(model, draw(1)), Expectation(model, draw, 2)):
            PGD(steps=2).run(estimator, images, labels, lambda *shape: torch.full((4, *shape), 0.3), Linf(0.1))
    assert torch.equal(images, before)
    assert not images.requires_grad
    assert [m.training for m in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == asked
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())
    assert torch.equal(model.generator.get_state(), drawn)
    assert torch.equal(torch.random.get_rng_state(), random_state)
