"""Where statistics come from, as a setting: whatever was trained, by running ones, those of the batch, or both."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rnabench.errors import InvalidValue
from rnabench.model.normalizers import build_norm, norm_factory
from rnabench.norm.choice import NormChoice
from rnabench.norm.layers import BatchGroupNorm, Norm, frozen_statistics, norm_layers, statistics_from
from rnabench.norm.mixture import use_branch
from rnabench.path.choice import ChoiceLayer, use_path
from rnabench.path.path import Path
from rnabench.settings.deployment import StatisticsFrom
from rnabench.settings.spaces import parse_space

BATCH_NORMS = ["bn", "bgn2", "bn-batch", "robust", "robust0.05", "robust-running-mean", "robust-running", "mbn"]
SAME = [  # one norm under a setting is another one as it is
    ("bn", "batch", "bn-batch"), ("bn-batch", "running", "bn"), ("robust", "running-mean", "robust-running-mean"),
    ("robust", "running", "robust-running"), ("robust-running", "batch", "robust"),
    ("robust-running-mean0.05", "batch", "robust0.05"), ("mbn", "batch", "bn-batch"), ("bn", "running", "bn"),
]


def activation(seed: int, images: int = 5, channels: int = 4, offset: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, channels, 3, 3, generator=generator, dtype=torch.float64) * 2 + offset


def trained(label: str, training: bool = False) -> Norm:
    """With scale, shift and running statistics that are nothing special."""
    norm, generator = build_norm(parse_space(label).norms[0], 4).double(), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        for step in range(3):
            norm(activation(step, offset=0.5))
    return norm.train(training)


def buffers(module: nn.Module) -> list[Tensor]:
    return [buffer.clone() for buffer in module.buffers()]


def slope(norm: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs, and the gradient of a loss by the input."""
    leaf = x.clone().requires_grad_()
    out = norm(leaf)
    return out, torch.autograd.grad((out * activation(77)[: len(x)]).sum(), leaf)[0]


@given(st.sampled_from(SAME), st.integers(0, 99), st.booleans(), st.integers(2, 5))
@settings(deadline=None, max_examples=60)
def test_a_norm_under_a_setting_is_the_norm_of_that_kind(
    case: tuple[str, StatisticsFrom, str], seed: int, training: bool, images: int,
) -> None:
    """Values and gradients; in training mode as in evaluation mode."""
    label, where, other = case
    norm, expected = trained(label, training), trained(other)
    state = norm.active.state_dict()
    expected.load_state_dict({name: state[name] for name in expected.state_dict()})
    with statistics_from(norm, where):
        torch.testing.assert_close(slope(norm, activation(seed, images)), slope(expected, activation(seed, images)),
                                   rtol=1e-9, atol=1e-9)


@given(st.sampled_from(BATCH_NORMS), st.sampled_from(["running", "batch", "running-mean"]), st.integers(0, 99),
       st.booleans())
@settings(deadline=None, max_examples=60)
def test_who_depends_on_whom_and_what_moves(label: str, where: StatisticsFrom, seed: int, training: bool) -> None:
    """By running statistics an image's output is its own, by others it is not; no buffer moves, and all is restored."""
    norm, x = trained(label, training), activation(seed)
    before, mixes = buffers(norm), norm.mixes_batch
    with statistics_from(norm, where):
        alone = torch.allclose(norm(x)[:2], norm(x[:2]), rtol=1e-6, atol=1e-6)
        assert alone == (where == "running") == (not norm.mixes_batch)
        assert not norm.moves
    assert all(map(torch.equal, buffers(norm), before))
    assert norm.mixes_batch == mixes
    norm.train()(x)
    assert not all(map(torch.equal, buffers(norm), before))


@pytest.mark.parametrize("label", BATCH_NORMS)
def test_of_a_batch_whose_mean_is_the_running_one_both_settings_are_the_same(label: str) -> None:
    norm, x = trained(label), activation(9)
    groups = norm.active.groups
    norm.active.get_buffer("running_mean").copy_(x.transpose(0, 1).reshape(groups, -1).mean(1))
    with statistics_from(norm, "batch"):
        expected = norm(x)
    with statistics_from(norm, "running-mean"):
        torch.testing.assert_close(norm(x), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("label", ["gn2", "in", "ln", "in-plain", "none"])
@pytest.mark.parametrize("where", ["running", "batch", "running-mean"])
def test_statistics_of_an_image_stay_its_own(label: str, where: StatisticsFrom) -> None:
    norm, x = trained(label), activation(9)
    expected = norm(x)
    with statistics_from(norm, where):
        assert torch.equal(norm(x), expected)
        assert not norm.mixes_batch


def test_frozen_fine_tuning_trains_scale_and_shift_by_running_statistics() -> None:
    norm = trained("bn", training=True)
    expected, before = trained("bn").eval(), buffers(norm)
    with statistics_from(norm, "running"):
        out = norm(activation(4))
    torch.testing.assert_close(out, expected(activation(4)))
    gradients = torch.autograd.grad(out.square().sum(), list(norm.parameters()))
    assert all(bool(gradient.abs().sum() > 0) for gradient in gradients)
    assert all(map(torch.equal, buffers(norm), before))


def test_blocks_nest_and_end_whatever_happens() -> None:
    norm, x = trained("bn"), activation(4)
    expected = norm(x)
    with statistics_from(norm, "batch"):
        inside = norm(x)
        with statistics_from(norm, "own"):
            assert torch.equal(norm(x), expected)
        assert torch.equal(norm(x), inside)
    with pytest.raises(ZeroDivisionError), statistics_from(norm, "batch"):
        raise ZeroDivisionError
    assert torch.equal(norm(x), expected)
    with pytest.raises(InvalidValue, match=r"statistics: 'runing' is not valid; .* did you mean 'running'\?"), \
            statistics_from(norm, "runing"):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("where", ["own", "running", "batch", "running-mean"])
@pytest.mark.parametrize("space", ["bn+in", "bn+gn2+bgn2", "mbn+robust+none"])
def test_in_a_choice_every_option_as_its_own_module(space: str, where: StatisticsFrom, training: bool) -> None:
    """Per-sample choices, stacked or not, before and after another setting was used in the same layer."""
    norm = norm_factory(parse_space(space))(4).double()
    assert isinstance(norm, NormChoice)
    for name, option in zip(norm.names, norm.options, strict=True):
        option.load_state_dict(trained(name).state_dict())
    norm.train(training)
    choices = torch.arange(5) % len(norm.options)
    for setting in (where, "batch", where):
        direction, results = activation(8), []
        for mixed in (NormChoice.mixed, ChoiceLayer.mixed):
            leaf = activation(6).requires_grad_()
            with statistics_from(norm, setting), frozen_statistics(norm) if setting == "own" else nullcontext():
                out = mixed(norm, leaf, choices)
            wanted = [leaf, *norm.parameters()]
            results.append([out, *torch.autograd.grad((out * direction).sum(), wanted, allow_unused=True)])
        for ours, expected in zip(*results, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("settings_of_options", [("running", "batch"), ("batch", "running"), ("batch", "own")])
def test_options_with_settings_of_their_own_stacked(settings_of_options: tuple[StatisticsFrom, ...]) -> None:
    norm = NormChoice({str(k): trained(label) for k, label in enumerate(("bn", "bgn2", "in", "bn"))}).eval()
    for option, where in zip(norm.options, settings_of_options, strict=False):
        option.take_statistics(where)
    choices, results, direction = torch.tensor([0, 1, 2, 3, 0]), [], activation(8)
    for mixed in (NormChoice.mixed, ChoiceLayer.mixed):
        leaf = activation(6).requires_grad_()
        out = mixed(norm, leaf, choices)
        results.append((out, *torch.autograd.grad((out * direction).sum(), [leaf, *norm.parameters()])))
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-9)


def test_the_second_derivative_is_that_of_the_setting_of_the_pass() -> None:
    """Also where the setting has ended by then."""
    norm, choices = norm_factory(parse_space("bn+gn2+ln"))(4).double().eval(), torch.arange(4) % 3
    x = activation(6, 4)[:, :, :2, :2]
    with statistics_from(norm, "batch"):
        out = norm.mixed(leaf := x.clone().requires_grad_(), choices)
        expected = ChoiceLayer.mixed(norm, other := x.clone().requires_grad_(), choices)
    found = []
    for each, result in ((leaf, out), (other, expected)):
        (first,) = torch.autograd.grad(result.sin().sum(), each, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), each)[0])
    torch.testing.assert_close(found[0], found[1], rtol=1e-8, atol=1e-8)


def test_the_branch_of_a_mixture_decides() -> None:
    norm = trained("mbn")
    with statistics_from(norm, "batch"), use_branch(norm, "adv"):
        assert norm.mixes_batch
    with use_branch(norm, "adv"):
        assert not norm.mixes_batch
    assert norm_layers(norm) == {"": norm}


ONE_VALUE = [("bn", "own", True), ("bn", "batch", False), ("bn-batch", "own", False), ("robust", "own", False),
             ("robust", "own", True), ("robust-running-mean", "own", False), ("mbn", "own", True),
             ("bn", "running-mean", False)]


@pytest.mark.parametrize(("label", "where", "training"), ONE_VALUE)
@pytest.mark.parametrize("per_sample", [False, True])
def test_a_single_value_has_no_statistics(label: str, where: StatisticsFrom, training: bool, per_sample: bool) -> None:
    norm = NormChoice({"a": trained(label), "b": trained("in"), "c": trained("ln")}).train(training)
    path, x = Path(((0,),)), activation(1, 2)
    with statistics_from(norm, where), frozen_statistics(norm), use_path(norm, path, as_tensor=per_sample):
        with pytest.raises(InvalidValue, match="--batch-size: 1 is not valid; expected 2 images or more") as caught:
            norm(x[:1, :, :1, :1])
        assert "\n" not in str(caught.value)
        assert norm(x[:1, :, :1, :]).isfinite().all()
        assert norm(x[:, :, :1, :1]).isfinite().all()


@pytest.mark.parametrize(("label", "where", "training"), [("bn", "own", False), ("bn", "running", True),
                                                          ("bgn2", "batch", False), ("in", "own", True)])
def test_it_is_enough_where_statistics_are_not_of_it_alone(label: str, where: StatisticsFrom, training: bool) -> None:
    norm = trained(label, training)
    with statistics_from(norm, where):
        assert norm(activation(1, 1)[:, :, :1, :1]).isfinite().all()


def test_plain_layers_compute_the_same_under_a_setting() -> None:
    x = activation(5)
    for label in BATCH_NORMS:
        for where in ("running", "batch", "running-mean"):
            norm = copy.deepcopy(trained(label))
            with statistics_from(norm, where):  # type: ignore[arg-type]
                torch.testing.assert_close(norm.plain().eval()(x), norm(x), rtol=1e-9, atol=1e-9)
    assert isinstance(trained("bn").plain(), nn.BatchNorm2d)
    assert isinstance(trained("bgn2"), BatchGroupNorm)
