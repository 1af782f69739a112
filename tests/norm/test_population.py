"""Statistics of a whole data set: exact, whatever the batches, and in the place of running averages."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn

from rnabench.norm.layers import BatchGroupNorm, norm_layers
from rnabench.norm.population import (
    Moments,
    batch_norms,
    has_other_batch_statistics,
    population_statistics,
    set_statistics,
)
from tests.helpers import lively_model


def images(count: int = 24) -> torch.Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@hypothesis_settings(max_examples=30)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=6), shift=st.floats(-100, 100),
       groups=st.sampled_from([1, 2, 6]))
def test_moments_are_those_of_all_values_however_they_are_split(sizes: list[int], shift: float, groups: int) -> None:
    x = torch.randn(sum(sizes), 6, 3, 2, generator=torch.Generator().manual_seed(len(sizes)), dtype=torch.float64)
    x = x * torch.arange(1, 7).view(1, 6, 1, 1) + shift
    moments = Moments(groups)
    for part in x.split(sizes):
        moments.add(part)
    values = x.transpose(0, 1).reshape(groups, -1)
    torch.testing.assert_close(moments.mean, values.mean(1), rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(moments.var, values.var(1, correction=0), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("space", ["bn", "bgn4", "mbn"])
@pytest.mark.parametrize("size", [24, 7])
def test_the_first_layer_has_the_exact_statistics_of_all_images(space: str, size: int) -> None:
    model, x = lively_model(space).double(), images()
    network = model.network
    assert isinstance(network, nn.Sequential)
    name, layer = next(iter(batch_norms(model).items()))
    values = network[0](x).transpose(0, 1).reshape(layer.groups, -1)
    mean, var = population_statistics(model, x.split(size))[name]
    torch.testing.assert_close(mean, values.mean(1), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(var, values.var(1, correction=0), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("space", ["bn", "bgn4"])
def test_one_batch_of_all_images_is_normalised_alike_by_its_own_statistics(space: str) -> None:
    """What was recomputed serves evaluation mode as the batch's own statistics serve training mode, in every layer."""
    model, x = lively_model(space).double(), images()
    set_statistics(model, population_statistics(model, [x]))
    expected = model(x)
    for layer in batch_norms(model).values():
        layer.train()
        layer.update_running = False
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-10)


def test_the_network_is_left_as_it_was() -> None:
    model, x = lively_model("bn"), images().float()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    population_statistics(model, x.split(8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module.training for module in model.modules())
    assert all(layer.update_running and not layer._forward_pre_hooks for layer in norm_layers(model).values())
    with pytest.raises(RuntimeError):
        population_statistics(model, [x[:, :2]])
    assert not any(module.training for module in model.modules())


def test_which_layers_are_batch_normalisations() -> None:
    assert len(batch_norms(lively_model("bn"))) == len(batch_norms(lively_model("mbn"))) == 6
    assert all(isinstance(layer, BatchGroupNorm) for layer in batch_norms(lively_model("mbn")).values())
    for space, other in (("bn", False), ("bgn4", False), ("mbn", False), ("in", False), ("ln", False),
                         ("robust", True), ("robust-running", True), ("bn-batch", True)):
        model = lively_model(space)
        assert has_other_batch_statistics(model) == other
        assert bool(batch_norms(model)) == (space in ("bn", "bgn4", "mbn"))
