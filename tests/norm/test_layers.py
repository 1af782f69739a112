"""The normalisers against torch's own, and against the paper's equations."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rnabench.model.normalizers import build_norm
from rnabench.norm.group_norm import GroupNorm
from rnabench.norm.layers import BatchGroupNorm, Norm, frozen_statistics
from rnabench.settings.spaces import parse_space


def activation(seed: int, *shape: int, offset: float = 0.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + offset


def randomise(norm: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))


def same_in_value_and_gradient(first: nn.Module, second: nn.Module, x: Tensor, tolerance: float = 1e-10) -> None:
    """Outputs, and gradients of input, weight and bias, agree for a random linear loss."""
    direction = activation(99, *x.shape)
    results = []
    for module in (first, second):
        leaf = x.clone().requires_grad_()
        out = module(leaf)
        grads = torch.autograd.grad((out * direction).sum(), [leaf, module.weight, module.bias])
        results.append([out, *(grad.flatten() for grad in grads)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("training", [True, False])
def test_bgn_of_one_channel_is_batch_norm(training: bool) -> None:
    ours, theirs = BatchGroupNorm(6, 6).double(), nn.BatchNorm2d(6).double()
    randomise(ours, 1)
    theirs.load_state_dict(ours.state_dict())
    for step in range(3):  # move the running statistics first, in both
        ours(activation(step, 4, 6, 5, 5, offset=2.0)), theirs(activation(step, 4, 6, 5, 5, offset=2.0))
    ours.train(training), theirs.train(training)
    same_in_value_and_gradient(ours, theirs, activation(7, 4, 6, 5, 5, offset=2.0))
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_general_bgn_formula_at_group_size_one_is_batch_norm(training: bool) -> None:
    """The law of total variance (what per-sample paths use), not the shortcut to torch's kernel."""
    ours, theirs = BatchGroupNorm(6, 6).double(), nn.BatchNorm2d(6).double()
    randomise(ours, 1)
    theirs.load_state_dict(ours.state_dict())
    general = GeneralFormula(ours)
    for step in range(2):
        x = activation(step, 4, 6, 5, 5, offset=2.0)
        general(x), theirs(x)
    general.train(training), theirs.train(training)
    same_in_value_and_gradient(general, theirs, activation(7, 4, 6, 5, 5, offset=2.0))
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-12, atol=1e-12)


class GeneralFormula(nn.Module):
    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.norm, self.weight, self.bias = norm, norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        return Norm.forward(self.norm, x)


def test_in_is_instance_norm_with_affine() -> None:
    ours, theirs = build_norm(parse_space("gn[1]").norms[0], 6).double(), nn.InstanceNorm2d(6, affine=True).double()
    randomise(ours, 2)
    theirs.load_state_dict(ours.state_dict())
    same_in_value_and_gradient(ours, theirs, activation(3, 4, 6, 5, 5))


@pytest.mark.parametrize("training", [True, False])
def test_in_plain_is_torchs_instance_norm(training: bool) -> None:
    """Value and gradient; nothing to train or to save."""
    ours = build_norm(parse_space("in-plain").norms[0], 6).double().train(training)
    theirs = nn.InstanceNorm2d(6).double().train(training)
    assert not list(ours.parameters())
    assert not ours.state_dict()
    x, direction = activation(3, 4, 6, 5, 5, offset=2.0), activation(99, 4, 6, 5, 5)
    results = []
    for module in (ours, theirs):
        leaf = x.clone().requires_grad_()
        out = module(leaf)
        results.append((out, *torch.autograd.grad((out * direction).sum(), leaf)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-10, atol=1e-10)


def test_one_group_is_layer_norm_over_channels_and_pixels() -> None:
    ours = build_norm(parse_space("ln").norms[0], 6).double()
    randomise(ours, 2)
    x = activation(3, 4, 6, 5, 5, offset=1.0)
    expected = nn.functional.layer_norm(x, x.shape[1:]) * ours.weight[:, None, None] + ours.bias[:, None, None]
    torch.testing.assert_close(ours(x), expected, rtol=1e-10, atol=1e-10)


@given(st.sampled_from([1, 2, 3, 4, 6, 12]), st.integers(0, 1000), st.floats(-50, 50))
@settings(deadline=None, max_examples=25)
def test_gn_is_torchs_group_norm(groups: int, seed: int, offset: float) -> None:
    ours, theirs = GroupNorm(12, groups).double(), nn.GroupNorm(groups, 12).double()
    randomise(ours, seed)
    theirs.load_state_dict(ours.state_dict())
    same_in_value_and_gradient(ours, theirs, activation(seed, 3, 12, 4, 4, offset=offset), tolerance=1e-9)


def test_bgn_by_its_definition() -> None:
    """Mean and variance over batch, group and pixels; running ones move by torch's convention, unbiased."""
    norm = BatchGroupNorm(6, 2).double()
    x = activation(4, 3, 6, 5, 5, offset=1.0)
    grouped = x.view(3, 2, 3, 5, 5)
    mean, var = grouped.mean((0, 2, 3, 4)), grouped.var((0, 2, 3, 4), correction=0)
    expected = (grouped - mean.view(1, 2, 1, 1, 1)) / (var.view(1, 2, 1, 1, 1) + 1e-5).sqrt()
    torch.testing.assert_close(norm(x), expected.view_as(x), rtol=1e-10, atol=1e-10)
    unbiased = grouped.var((0, 2, 3, 4), correction=1)
    torch.testing.assert_close(norm.running_mean, 0.1 * mean)
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * unbiased)


def test_cancellation_does_not_spoil_float32() -> None:
    """A mean 1,000 times the deviation: E[x^2] - E[x]^2 would lose every digit."""
    x = activation(5, 2, 4, 16, 16, offset=1000.0)
    exact = GroupNorm(4, 4).double()(x)
    torch.testing.assert_close(GroupNorm(4, 4)(x.float()).double(), exact, rtol=0, atol=2e-3)


@pytest.mark.parametrize("label", ["gn[2]", "gn3", "ln", "in", "in-plain", "bn", "bgn2"])
@pytest.mark.parametrize("general", [True, False])
def test_twice_differentiable(label: str, general: bool) -> None:
    norm = build_norm(parse_space(label).norms[0], 6).double()
    if general:
        norm = GeneralFormula(norm)
    x = activation(6, 2, 6, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(norm, x)
    assert torch.autograd.gradgradcheck(norm, x)


def test_equation_5_gradient_norms() -> None:
    """||dL/dY||^2 = gamma^2/sigma^2 (||g||^2 - <1,g>^2/G - <g,Yhat>^2/G) for GN; gamma^2/sigma^2 ||g||^2 for BGN."""
    gamma, groups, eps = 1.7, 3, 1e-5
    x = activation(8, 1, 6, 5, 5, offset=0.5)
    direction = activation(9, *x.shape)
    for norm in (GroupNorm(6, groups).double(), BatchGroupNorm(6, groups).double()):
        nn.init.constant_(norm.weight, gamma)
        if isinstance(norm, BatchGroupNorm):
            norm(x), norm.eval()
        leaf = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad((norm(leaf) * direction).sum(), leaf)
        y, g, dy = (t.view(groups, -1) for t in (x, direction, grad))
        size = y.shape[1]
        if isinstance(norm, GroupNorm):
            # torch's eps inside the square root: Yhat and its norm are those of the layer's own sigma
            sigma2 = y.var(1, correction=0) + eps
            y_hat = (y - y.mean(1, keepdim=True)) / sigma2.sqrt()[:, None]
            shrink = y.var(1, correction=0) / sigma2  # ||Yhat||^2 / G; 1 in the paper, which has no eps
            projection = (g * y_hat).sum(1) ** 2 / size
            inner = (g**2).sum(1) - g.sum(1) ** 2 / size - projection * (2 - shrink)
        else:
            sigma2, inner = norm.running_var + eps, (g**2).sum(1)
        torch.testing.assert_close((dy**2).sum(1), gamma**2 / sigma2 * inner, rtol=1e-10, atol=0)


def test_frozen_statistics_stay_and_are_restored() -> None:
    norm = BatchGroupNorm(4, 2)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    with frozen_statistics(norm):
        frozen = norm(torch.randn(3, 4, 2, 2) + 5)
        for name, value in norm.state_dict().items():
            assert torch.equal(value, before[name])
    assert abs(frozen.mean().item()) < 1e-4  # batch statistics were used all the same
    norm(torch.randn(3, 4, 2, 2) + 5)
    assert not torch.equal(norm.running_mean, before["running_mean"])


def test_bf16_weight_gradients_do_not_cancel() -> None:
    """A mean of eight deviations: the products are rounded once, not before the mean is taken off."""
    x, direction = (activation(seed, 8, 4, 16, 16, offset=offset).bfloat16() for seed, offset in ((5, 8.0), (6, 0.0)))
    slopes = []
    for kind, dtype in ((GroupNorm(4, 4), torch.bfloat16), (GroupNorm(4, 4).double(), torch.float64)):
        out = kind(x.to(dtype))
        slopes.append(torch.autograd.grad(out, kind.weight, direction.to(dtype))[0].double())
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-3, atol=1e-3 * float(slopes[1].abs().max()))


def test_bf16_keeps_its_dtype_and_its_statistics_in_float32() -> None:
    x = activation(5, 2, 4, 16, 16, offset=10.0).bfloat16()
    out = GroupNorm(4, 4)(x)
    assert out.dtype == torch.bfloat16
    exact = GroupNorm(4, 4).double()(x.double())
    assert (out.double() - exact).abs().max().item() < 0.05
