"""RobustNorm against its formula: (x - mean) / range^p, range = max - min per channel."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rnabench.model.normalizers import build_norm
from rnabench.norm.layers import Norm
from rnabench.norm.robust import RobustNorm, RobustNormOfRunningMean, RobustNormOfRunningStatistics
from rnabench.norm.statistics import sample_statistics
from rnabench.settings.spaces import parse_space

KINDS = [RobustNorm, RobustNormOfRunningMean, RobustNormOfRunningStatistics]


def activation(seed: int, count: int = 5) -> Tensor:
    return torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 2


def made(kind: type[Norm] = RobustNorm) -> Norm:
    norm = kind(3, 3).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.randn(3, generator=generator))
    return norm


def formula(norm: Norm, x: Tensor, mean: Tensor, value_range: Tensor, power: float = 0.2) -> Tensor:
    def per_channel(values: Tensor) -> Tensor:
        return values.view(1, -1, 1, 1)
    standard = (x - per_channel(mean)) / per_channel(value_range) ** power
    return per_channel(norm.weight) * standard + per_channel(norm.bias)


def mean_and_range(x: Tensor) -> tuple[Tensor, Tensor]:
    by_channel = x.transpose(0, 1).flatten(1)
    return by_channel.mean(1), by_channel.max(1).values - by_channel.min(1).values


@pytest.mark.parametrize("kind", KINDS)
def test_in_training_it_is_the_formula_and_its_gradient(kind: type[Norm]) -> None:
    norm, x, direction = made(kind), activation(2).requires_grad_(), activation(3)
    outputs = norm(x), formula(norm, x, *mean_and_range(x))
    ours, expected = (torch.autograd.grad((out * direction).sum(), [x, norm.weight, norm.bias]) for out in outputs)
    torch.testing.assert_close((outputs[0], *ours), (outputs[1], *expected), rtol=1e-10, atol=1e-10)


def test_at_inference_each_takes_its_own_statistics() -> None:
    mean, value_range = mean_and_range(activation(4))
    old_mean, old_range = 0.1 * mean_and_range(activation(5))[0], 0.9 + 0.1 * mean_and_range(activation(5))[1]
    expected = [(mean, value_range), (old_mean, value_range), (old_mean, old_range)]
    for kind, statistics in zip(KINDS, expected, strict=True):
        norm = made(kind)
        norm(activation(5))
        norm.eval()
        torch.testing.assert_close(norm(activation(4)), formula(norm, activation(4), *statistics))
        torch.testing.assert_close((norm.running_mean, norm.running_range), (old_mean, old_range))


def test_weights_of_one_serve_the_others() -> None:
    trained = made()
    trained(activation(5))
    for kind in KINDS:
        kind(3, 3).double().load_state_dict(trained.state_dict())


def test_a_running_mean_that_is_the_batchs_changes_nothing() -> None:
    robust, of_running_mean = made().eval(), made(RobustNormOfRunningMean).eval()
    of_running_mean.running_mean.copy_(mean_and_range(activation(4))[0])
    torch.testing.assert_close(of_running_mean(activation(4)), robust(activation(4)))


powers = st.floats(0.01, 1)


@given(powers, st.floats(0.1, 20), st.floats(-50, 50), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_shift_and_scale_of_the_input(power: float, factor: float, shift: float, seed: int) -> None:
    """A shift is taken away; a factor a comes out as a^(1 - p)."""
    norm = RobustNorm(3, 3, power).double()
    expected = factor ** (1 - power) * norm(activation(seed))
    torch.testing.assert_close(norm(factor * activation(seed) + shift), expected, rtol=1e-8, atol=1e-8)


@given(powers, st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_any_power_is_the_formula_and_its_gradient(power: float, seed: int) -> None:
    norm, x, direction = RobustNorm(3, 3, power).double(), activation(seed).requires_grad_(), activation(seed + 1)
    outputs = norm(x), formula(norm, x, *mean_and_range(x), power)
    ours, expected = (torch.autograd.grad((out * direction).sum(), x) for out in outputs)
    torch.testing.assert_close((outputs[0], *ours), (outputs[1], *expected), rtol=1e-9, atol=1e-9)


def test_the_power_behind_the_name_reaches_every_layer() -> None:
    norm = build_norm(parse_space("robust-running-mean0.05").norms[0], 3)
    assert isinstance(norm, RobustNormOfRunningMean)
    assert norm.power == 0.05
    assert "power=0.05" in repr(norm)


@pytest.mark.parametrize("power", [0.01, 0.2, 1.0])
def test_a_constant_channel_has_a_finite_gradient(power: float) -> None:
    x = activation(4)
    x[:, 1] = 0.5
    norm, leaf = RobustNorm(3, 3, power).double(), x.requires_grad_()
    out = norm(leaf)
    torch.testing.assert_close(out[:, 1], norm.bias[1].expand_as(out[:, 1]))
    (gradient,) = torch.autograd.grad(out.square().sum(), leaf)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [True, False])
def test_twice_differentiable(kind: type[Norm], training: bool) -> None:
    norm, x = made(kind).train(training), activation(6, 2).requires_grad_()
    assert torch.autograd.gradcheck(norm, x)
    assert torch.autograd.gradgradcheck(norm, x)


@pytest.mark.parametrize(("space", "alone"), [("robust", False), ("robust-running-mean", False), ("bn-batch", False),
                                              ("robust-running", True), ("bn", True), ("mbn", True), ("in", True)])
def test_who_depends_on_batch_mates(space: str, alone: bool) -> None:
    norm = build_norm(parse_space(space).norms[0], 3).double().eval()
    assert torch.allclose(norm(activation(7))[:1], norm(activation(7)[:1])) == alone


def test_batch_statistics_at_inference_are_those_of_training() -> None:
    """On the weights of a BN, whose own inference differs; and without moving the running ones."""
    batch_norm = nn.BatchNorm2d(3).double()
    batch_norm(activation(5))
    norm = build_norm(parse_space("bn-batch").norms[0], 3).double()
    norm.load_state_dict(batch_norm.state_dict())
    norm.eval()
    x = activation(4).requires_grad_()
    outputs = norm(x), batch_norm.train()(x)
    gradients = [torch.autograd.grad(out.sin().sum(), x)[0] for out in outputs]
    torch.testing.assert_close([outputs[0], gradients[0]], [outputs[1], gradients[1]], rtol=1e-10, atol=1e-10)
    assert not torch.allclose(norm.running_mean, batch_norm.running_mean)


def test_extremes_under_autocast_are_those_of_float32() -> None:
    """Their difference is not rounded to bfloat16 before its power is taken."""
    x, norm = (activation(4) + 30).bfloat16(), RobustNorm(3, 3)
    scales = []
    for dtype in (torch.bfloat16, torch.float32):
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            scale, shift = norm.coefficients(sample_statistics(x.to(dtype), norm.needs))
        assert scale.dtype == shift.dtype == torch.float32
        scales.append(scale)
    assert torch.equal(scales[0], scales[1])
