"""The RNA layer: one pass over the activation equals every option's own module."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from rnabench.model.normalizers import norm_factory
from rnabench.norm.choice import NormChoice
from rnabench.norm.layers import frozen_statistics
from rnabench.path.choice import ChoiceLayer, use_path
from rnabench.path.path import Path
from rnabench.runtime.rate import work_of
from rnabench.settings.spaces import parse_space

SPACES = ["bn+in", "bn+in-plain", "bn+in+gn2+ln+bgn3", "bgn+gn[1-4]", "robust+bn-batch+in", "bn+robust-running"]


def layer(space: str) -> NormChoice:
    built = norm_factory(parse_space(space))(12).double()
    assert isinstance(built, NormChoice)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        for name, buffer in built.named_buffers():
            if name.endswith(("mean", "var")):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return built


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shape = (7, 12, 4, 4)
    return (torch.randn(shape, generator=generator, dtype=torch.float64) + 1,
            torch.randn(shape, generator=generator, dtype=torch.float64))


MODES = {"training": (True, False), "frozen": (True, True), "evaluation": (False, False)}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("space", SPACES)
def test_per_sample_is_each_options_own_module(space: str, mode: str) -> None:
    """With statistics that stand still, as in inner attacks and in evaluation, the families' options are stacked."""
    training, frozen = MODES[mode]
    norm = layer(space).train(training)
    x, direction = inputs()
    choices = torch.arange(7) % len(norm.options)
    results = []
    for mixed in (NormChoice.mixed, ChoiceLayer.mixed):  # one pass, against all modules side by side
        module, leaf = copy.deepcopy(norm), x.clone().requires_grad_()
        with frozen_statistics(module) if frozen else nullcontext():
            out = mixed(module, leaf, choices)
        wanted = [leaf, *module.parameters()]
        grads = torch.autograd.grad((out * direction).sum(), wanted, allow_unused=True)
        results.append([out, *grads])
    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("space", SPACES)
def test_equal_rows_are_the_path_of_the_batch(space: str, training: bool) -> None:
    """Outputs, gradients, and what happens to the running statistics."""
    x, direction = inputs()
    for choice in range(len(layer(space).options)):
        results = []
        for path in (Path.of(choice), Path(((choice,),) * 7)):
            norm, leaf = layer(space).train(training), x.clone().requires_grad_()
            with use_path(norm, path):
                out = norm(leaf)
            grads = torch.autograd.grad((out * direction).sum(), [leaf, *norm.options[choice].parameters()])
            results.append([out, *grads, *norm.buffers()])
        for per_batch, per_sample in zip(*results, strict=True):
            torch.testing.assert_close(per_batch, per_sample, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("training", [True, False])
def test_stacked_options_are_twice_differentiable(training: bool) -> None:
    norm, (x, _) = layer("bn+in+gn2+bgn3").train(training), inputs()
    leaf, choices = x[:, :, :2, :2].clone().requires_grad_(), torch.tensor([0, 1, 2, 3, 1, 0, 2])
    with frozen_statistics(norm):
        assert torch.autograd.gradcheck(lambda each: norm.mixed(each, choices), leaf)
        assert torch.autograd.gradgradcheck(lambda each: norm.mixed(each, choices), leaf)


def test_differentiating_twice_changes_nothing_whenever_it_is_done() -> None:
    """The second pass, by other formulas, is that of the first: same statistics, none of which moves."""
    norm, (x, direction) = layer("bn+in").train(), inputs()
    leaf, choices = x.clone().requires_grad_(), torch.arange(7) % 2
    found = []
    for early in (True, False):
        with frozen_statistics(norm):
            out = norm.mixed(leaf, choices)
            if early:
                (slope,) = torch.autograd.grad((out * direction).sum(), leaf, create_graph=True)
        norm.train(early)
        before = [each.clone() for each in norm.buffers()]
        if not early:
            (slope,) = torch.autograd.grad((out * direction).sum(), leaf, create_graph=True)
        found.append((slope, torch.autograd.grad(slope.square().sum(), leaf)[0]))
        assert all(torch.equal(old, new) for old, new in zip(before, norm.buffers(), strict=True))
        norm.train()
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-12)


def test_stacked_options_keep_float32_where_the_mean_is_large() -> None:
    norm = layer("bn+in+gn2+bgn3").eval()
    x, choices = inputs()[0] + 1000, torch.tensor([0, 1, 2, 3, 1, 0, 2])
    exact, rounded = norm.mixed(x, choices), norm.float().mixed(x.float(), choices)
    own = choices % 2 == 1  # normalised by statistics of their own; those of others move by the thousand
    torch.testing.assert_close(rounded.double()[own], exact[own], rtol=0, atol=5e-3)


def test_the_number_of_options_does_not_change_the_number_of_calls() -> None:
    """Per-sample choices, in a network of two options and one of seven."""
    counts = []
    for space in ("bn+in", "gn[1-64]"):
        norm = norm_factory(parse_space(space))(64).requires_grad_(False)
        x, choices = torch.rand(7, 64, 4, 4, requires_grad=True), torch.arange(7) % len(norm.options)
        for option in norm.options:
            option.update_running = False
        norm.mixed(x, choices)  # the first pass also works out what all of them share
        counts.append(work_of(lambda norm=norm, x=x, choices=choices: torch.autograd.grad(  # type: ignore[misc]
            norm.mixed(x, choices).sum(), x)).launches)
    assert counts[1] <= counts[0]


def test_a_tensor_path_of_one_row_is_the_same() -> None:
    norm, (x, _) = layer("bn+in").eval(), inputs()
    for choice in (0, 1):
        with use_path(norm, Path.of(choice)):
            expected = norm(x)
        with use_path(norm, Path.of(choice), as_tensor=True):
            torch.testing.assert_close(norm(x), expected, rtol=1e-10, atol=1e-10)


def test_channels_last_and_contiguous_agree() -> None:
    norm, (x, _) = layer("bn+in+ln"), inputs()
    with use_path(norm, Path(tuple((k % 3,) for k in range(7)))):
        torch.testing.assert_close(norm(x), norm(x.to(memory_format=torch.channels_last)))


def test_one_norm_is_no_choice() -> None:
    assert not isinstance(norm_factory(parse_space("bn"))(8), ChoiceLayer)
    assert isinstance(norm_factory(parse_space("bn"))(8), nn.Module)
