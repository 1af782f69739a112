"""Shift of statistics: none for the batch that set the running ones, what was planted where something was."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rnabench.errors import InvalidValue
from rnabench.model.classifier import RandomizedClassifier
from rnabench.norm.layers import Norm
from rnabench.norm.statistics import EPS
from rnabench.path.choice import ChoiceLayer
from rnabench.studies.measure.statistics_shift import NetworkShifts, measures, statistics_shift, tracked_norms
from rnabench.studies.measure.subject import at_rest
from rnabench.studies.statistics_shift import StatisticsShift
from tests.helpers import lively_model
from tests.studies.test_transfer import SPEC, keys, work


def shift(model: RandomizedClassifier, size: int = 12, eps: str = "16/255") -> NetworkShifts:
    with at_rest([model]):
        return statistics_shift("net", model, SPEC, keys(batch_size=size, eps=eps), 10, work(size=size))


def set_by_the_batch(model: RandomizedClassifier) -> None:
    """Running statistics of the test images themselves, layer after layer as evaluation has them."""
    images = next(work(size=12).source.in_order(12)).images
    norms = [module for module in model.modules() if isinstance(module, Norm)]
    for norm in norms:
        def follow(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert isinstance(module, Norm)
            values = inputs[0].transpose(0, 1).flatten(1)
            module.get_buffer("running_mean").copy_(values.mean(1))
            if "var" in module.tracked:
                module.get_buffer("running_var").copy_(values.var(1, correction=0))
            else:
                module.get_buffer("running_range").copy_(values.amax(1) - values.amin(1))
        handle = norm.register_forward_pre_hook(follow)
        with torch.no_grad():
            model(images)
        handle.remove()


@pytest.mark.parametrize("space", ["bn", "robust"])
def test_no_shift_for_the_batch_that_set_the_running_statistics(space: str) -> None:
    model = lively_model(space)
    set_by_the_batch(model)
    found = shift(model)
    assert len(found.norms) == 6
    for tracked, clean, attacked in zip(found.norms, found.clean, found.attacked, strict=True):
        assert tracked.spread == ("var" if space == "bn" else "range")
        assert all(value == pytest.approx(0, abs=1e-4) for value in measures(tracked, clean).values())
        assert measures(tracked, attacked)["mean"] > 10 * measures(tracked, clean)["mean"]


def test_planted_shifts_are_found() -> None:
    model = lively_model("bn")
    set_by_the_batch(model)
    last = tracked_norms(model)[-1]
    mean, var = last.norm.get_buffer("running_mean"), last.norm.get_buffer("running_var")
    planted = torch.arange(8.0) / 10
    mean.sub_(planted)
    var.mul_(0.5)
    found = shift(model)
    assert np.allclose(found.clean[-1]["mean"], planted, atol=1e-4)
    assert np.allclose(found.clean[-1]["var"], var, atol=1e-4)
    by_name = measures(found.norms[-1], found.clean[-1])
    sigma = (var.double() + EPS).sqrt()
    assert by_name["mean_in_sigmas"] == pytest.approx(float((planted / sigma).mean()), abs=1e-3)
    assert by_name["log_spread"] == pytest.approx(math.log(2), abs=1e-3)
    assert last.running("var") == pytest.approx(var.numpy())
    assert last.of_one() == pytest.approx(((1 - mean) / sigma).numpy(), rel=1e-4)


def test_without_a_change_attacked_images_are_clean_ones() -> None:
    found = shift(lively_model("bn+bgn4"), size=4, eps="0")
    assert found.batches == 3
    for clean, attacked in zip(found.clean, found.attacked, strict=True):
        assert all(np.array_equal(clean[name], attacked[name]) for name in clean)


def test_every_option_that_keeps_statistics_sees_its_layers_input() -> None:
    """Those of BN and RobustNorm on the same input differ by their running means only."""
    model = lively_model("bn+in+robust")
    norms = tracked_norms(model)
    assert [tracked.option for tracked in norms] == ["bn", "robust"] * 6
    assert len({tracked.layer for tracked in norms}) == 6
    found = shift(model)
    for place in range(0, 12, 2):
        bn, robust = (found.clean[number]["mean"] + found.norms[number].running("mean")
                      for number in (place, place + 1))
        assert np.allclose(bn, robust, atol=1e-6)


def test_a_smaller_batch_at_the_end_is_left_out() -> None:
    whole, part = shift(lively_model("bn"), size=4), shift(lively_model("bn"), size=5)
    assert (whole.batches, whole.left_out) == (3, 0)
    assert (part.batches, part.left_out) == (2, 2)
    assert part.clean[0]["mean"].shape == (2, 8)


def test_the_study_says_who_keeps_no_statistics_and_refuses_if_nobody_does() -> None:
    asked = StatisticsShift(attack="fgsm", batch_size=6)
    networks = [("gn", lively_model("gn2")), ("bn", lively_model("bn"))]
    with at_rest([model for _, model in networks]):
        results = asked.compute(networks, 10, work(size=6))
        with pytest.raises(InvalidValue, match=r"RUN: 'gn' is not valid.*keep running statistics"):
            asked.compute(networks[:1], 10, work())
    assert results["without"] == ["gn"]
    (network,) = results["networks"]
    shown = [layer["layer"] for layer in network["layers"] if layer["by_channel"]]
    assert len(shown) == 3
    for layer in network["layers"]:
        for found in layer["measures"].values():
            mean, low, high, _ = found["difference"]
            assert mean == pytest.approx(found["attacked"][0] - found["clean"][0])
            assert low <= mean <= high


def test_a_norm_off_the_path_has_no_statistics() -> None:
    """Where an option is more than a normaliser, only what runs is seen."""
    bn = next(module for module in lively_model("bn").modules() if isinstance(module, Norm))
    other = next(module for module in lively_model("bn").modules() if isinstance(module, Norm))
    options = {name: nn.Sequential(nn.Conv2d(3, 8, 3), norm) for name, norm in (("a", bn), ("b", other))}
    model = RandomizedClassifier(nn.Sequential(ChoiceLayer(options), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                                               nn.Linear(8, 10))).eval()
    found = shift(model)
    assert [bool(np.isnan(clean["mean"]).all()) for clean in found.clean].count(True) == 1
