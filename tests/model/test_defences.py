"""Reference defences: each one's law, and what holds for all of them on any network."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnabench import build_model
from rnabench.errors import InvalidValue
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.defences.noise import GaussianNoise, InputNoise
from rnabench.model.defences.rpf import RandomProjection
from rnabench.model.defences.sap import Pruning
from rnabench.model.defences.smoothing import Smoothed
from rnabench.path.choice import choice_layers, use_path
from rnabench.path.path import Path
from rnabench.path.seeds import SeedLayer
from rnabench.seeding import stream
from rnabench.settings.parts import DEFENCE_KINDS, NONE, defences, options_of_defence

ALL = ["input-noise0.1", "smoothing0.1", "rse0.1", "rpf", "resize-pad", "resize-pad0.8", "sap", "ensemble3",
       "bit-depth", "jpeg"]
IMAGES = torch.rand(3, 3, 16, 16, generator=stream(0, "images"))


def built(defence: str, arch: str = "resnet20", space: str = "bn", **more: Any) -> RandomizedClassifier:
    model = build_model(arch, space, width=4, defence=defence, seed=3, **more)
    with torch.no_grad():
        for parameter in model.parameters():  # logits that tell images and paths apart
            if parameter.dim() == 2:
                parameter.normal_(generator=stream(0, "head"))
    return model.eval()


def drawn(model: RandomizedClassifier, rows: int = 1, name: str = "path") -> Path:
    return model.space.sample(stream(0, name), rows)


def test_every_defence_is_tested() -> None:
    assert {part.kind for text in ALL for part in defences(text)} == set(DEFENCE_KINDS)


@pytest.mark.parametrize(("defence", "arch", "space"), [
    *((defence, "resnet20", "bn+in") for defence in ALL),
    *((defence, "rs-resnet18", "gn4") for defence in ("rse0.1", "rpf", "sap", "ensemble2")),
    *((defence, "lenet5", "none") for defence in ("rpf", "resize-pad")), ("resize-pad", "vgg11", "bn")])
def test_a_path_is_replayed_and_an_image_has_the_logits_of_its_row(defence: str, arch: str, space: str) -> None:
    model = built(defence, arch, space)
    images = IMAGES if arch != "lenet5" else IMAGES.repeat(1, 1, 2, 2)
    path = drawn(model, 3)
    logits = model.on(path)(images)
    assert torch.equal(model.on(path)(images), logits)
    assert options_of_defence(defence) in {len(layer.names) for layer in choice_layers(model).values()}
    for place in range(3):
        row = Path(path.rows[place : place + 1])
        alone = model.on(row)(images)
        torch.testing.assert_close(alone[place], logits[place], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model.on(Path(row.rows * 3))(images), alone, rtol=1e-4, atol=1e-4)
    other = model.on(drawn(model, 3, "other"))(images)
    assert not torch.equal(other, logits)


@pytest.mark.parametrize("defence", ALL)
def test_training_goes_the_same_ways(defence: str) -> None:
    """In training mode too, a path is replayed; gradients reach all that it uses."""
    model = built(defence, space="gn4").train()
    path = drawn(model)
    first, again = model.on(path)(IMAGES), model.on(path)(IMAGES)
    assert torch.equal(first, again)
    first.square().mean().backward()  # type: ignore[no-untyped-call]
    missed = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert all(".options." in name for name in missed)
    assert bool(missed) == (defence == "ensemble3")


@pytest.mark.parametrize("defence", ["bit-depth", "jpeg"])
def test_what_masks_gradients_has_one_of_zero(defence: str) -> None:
    model = built(defence)
    images = IMAGES.clone().requires_grad_()
    for asking in (True, False):
        model.requires_grad_(asking)
        (gradient,) = torch.autograd.grad(model.on(drawn(model))(images).square().sum(), images)
        assert not gradient.any()


def test_a_network_that_lets_nothing_through_has_a_gradient_of_zero() -> None:
    class Severed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach().flatten(1)[:, :10]

    images = IMAGES.clone().requires_grad_()
    logits = RandomizedClassifier(nn.Sequential(Severed()))(images)
    assert torch.equal(logits.detach(), IMAGES.flatten(1)[:, :10])
    assert not torch.autograd.grad(logits.sum(), images)[0].any()


def test_the_networks_own_weights_are_those_of_the_undefended() -> None:
    plain = built(NONE).state_dict()
    for defence in ("input-noise", "smoothing", "resize-pad", "bit-depth", "jpeg", "ensemble1"):
        state = built(defence).state_dict()
        weights = {name: value for name, value in state.items() if name.startswith("network.1")}
        assert list(weights) == [name for name in plain if name.startswith("network.1")]
        assert all(torch.equal(value, plain[name]) for name, value in weights.items())


@pytest.mark.parametrize(("defence", "kind"), [("input-noise", GaussianNoise), ("rse", GaussianNoise),
                                               ("smoothing", GaussianNoise)])
def test_without_noise_it_is_the_network(defence: str, kind: type[GaussianNoise]) -> None:
    model, plain = built(defence), built(NONE)
    for noise in model.modules():
        if isinstance(noise, kind):
            noise.sigma = 0.0
    expected, logits = plain(IMAGES), model.on(drawn(model))(IMAGES)
    if defence == "smoothing":
        expected = expected.log_softmax(1)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_rse_has_noise_in_front_of_every_convolution_half_as_much_inside() -> None:
    model = built("rse0.4")
    convolutions = sum(isinstance(module, nn.Conv2d) for module in model.modules())
    noises = [module for module in model.modules() if isinstance(module, GaussianNoise)]
    assert [noise.sigma for noise in noises] == [0.4] + [0.2] * (convolutions - 1)
    assert [isinstance(noise, InputNoise) for noise in noises] == [True] + [False] * (convolutions - 1)
    noise, x = noises[0], torch.zeros(1, 100, 100)
    with use_path(noise, Path.of(5)):
        assert float(noise(x).var()) == pytest.approx(0.16, rel=0.1)


def test_rse_has_the_noise_at_the_input_alone_in_front_of_each_operator_that_sees_the_images() -> None:
    noisy = [name for name, module in built("rse0.4", "rs-lenet5", "none").named_modules()
             if isinstance(module, GaussianNoise)]
    assert len(noisy) == 1 + 4  # four operators in the second place
    assert not [name for name in noisy if "conv1" in name]


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_random_filters_have_mean_0_and_variance_1_by_r_squared_and_so_have_the_trained(share: float) -> None:
    convolution = nn.Conv2d(3, 16, 5, stride=2, padding=1)
    layer, x = RandomProjection(convolution, int(16 * share)), torch.rand(4, 3, 9, 9)
    path = Path(tuple((seed,) for seed in range(200)))
    with use_path(layer, path):
        filters = layer.filters(x.device)
    assert filters.shape == (200, 16 * share, 3, 5, 5)
    assert float(filters.mean()) == pytest.approx(0, abs=5 / 5 / math.sqrt(filters.numel()))
    assert float(filters.var()) == pytest.approx(1 / 25, rel=0.02)
    with torch.no_grad():  # all other filters are divided by their deviation and by r: their scale does not matter
        layer.weight.mul_(torch.rand(len(layer.weight), 1, 1, 1) + 5)
        with use_path(layer, path.take(torch.arange(4))):
            before = layer(x)
            layer.weight.mul_(3)
            torch.testing.assert_close(layer(x), before, rtol=1e-3, atol=1e-4)
        for place in range(4):  # the plain convolution with these filters
            scaled = layer.weight / layer.weight.flatten(1).std(1)[:, None, None, None] / 5
            convolution.weight.copy_(torch.cat([scaled, filters[place]]))
            torch.testing.assert_close(before[place], convolution(x)[place], rtol=1e-3, atol=1e-4)


def test_pruning_keeps_the_mean_and_has_a_bounded_derivative() -> None:
    layer, count = Pruning(1.0), 4000
    x = torch.cat([torch.zeros(3), torch.logspace(-3, 1, 12), -torch.logspace(-2, 0, 5)]).requires_grad_()
    with use_path(layer, Path(tuple((seed,) for seed in range(count)))):
        pruned = layer(x.expand(count, -1))
        kept = layer.kept(x[None])[0]
        (slope,) = torch.autograd.grad(pruned.sum(), x)
    n = len(x)
    share = (x.abs() / x.abs().sum()).detach().double()
    torch.testing.assert_close(kept.detach().double(), 1 - (1 - share) ** n, rtol=1e-3, atol=1e-6)
    hits = (pruned != 0).double().mean(0)
    error = (kept * (1 - kept) / count).sqrt().detach()
    assert ((hits - kept).abs() <= 5 * error + 1e-3).all()
    spread = (x.abs() * ((1 - kept) / kept.clamp_min(1e-9) / count).sqrt()).detach()
    assert ((pruned.mean(0) - x).abs() <= 5 * spread + 1e-6).all()
    assert slope.isfinite().all()
    assert not pruned[:, :3].any()
    with use_path(layer, Path.of(1)):
        one = torch.autograd.functional.jacobian(lambda each: layer(each[None])[0], x.detach()).diagonal()
    moved = one[pruned[1].detach() != 0]
    assert (moved > 0.3).all()
    assert (moved < 1.01).all()


def test_more_draws_prune_less() -> None:
    x = torch.rand(1, 500)
    shares = [float((Pruning(draws).kept(x)).mean()) for draws in (0.5, 1, 2, 100)]
    assert shares == sorted(shares)
    assert shares[-1] > 0.95


@pytest.mark.parametrize("space", ["bn", "bn+in"])
def test_an_ensemble_is_its_members(space: str) -> None:
    model = built("ensemble3", space=space)
    assert len(model.space.layers) == 1 + (21 if space == "bn+in" else 0)  # one choice inside, for all members
    inside = drawn(built(NONE, space=space)).rows[0]
    choice = model.network[1]  # type: ignore[index]
    logits = []
    for number, member in enumerate(choice.options):
        alone = RandomizedClassifier(nn.Sequential(model.network[0], member)).eval()  # type: ignore[index]
        logits.append(model.on(Path.of(number, *inside))(IMAGES))
        assert torch.equal(logits[-1], alone.on(Path.of(*inside))(IMAGES))
    assert not torch.equal(logits[0], logits[1])
    each = model.on(Path(tuple((number, *inside) for number in (2, 0, 1))))(IMAGES)
    expected = torch.stack([logits[number][place] for place, number in enumerate((2, 0, 1))])
    torch.testing.assert_close(each, expected, rtol=1e-4, atol=1e-4)
    one = built("ensemble1", space=space)
    assert torch.equal(one.on(Path.of(*inside))(IMAGES), built(NONE, space=space).on(Path.of(*inside))(IMAGES))


def test_smoothing_votes_by_the_mean_of_probabilities_in_evaluation_mode_alone() -> None:
    model = built("smoothing0.3", space="gn4+ln")
    smoothed, path = model.network, drawn(model, 3)
    assert isinstance(smoothed, Smoothed)
    logits = model.on(path)(IMAGES)
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(3))
    smoothed.votes = 1
    single = model.on(path)(IMAGES).softmax(1)
    smoothed.votes = 8
    alike = model.train().on(path)(IMAGES).softmax(1)  # norms here have one mode
    torch.testing.assert_close(alike, single, rtol=1e-4, atol=1e-5)
    noise = next(module for module in model.modules() if isinstance(module, SeedLayer))
    with use_path(model, path):
        copies = noise.gaussian((8, *IMAGES.shape[1:]), IMAGES.device) * 0.3 + IMAGES[:, None]  # all of the votes
    noise.sigma = 0.0  # type: ignore[assignment]
    votes = torch.stack([model.on(path)(copies[:, number]).softmax(1) for number in range(8)])
    torch.testing.assert_close(votes[0], single, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits.exp(), votes.mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("defence", ["rse", "rpf", "sap"])
def test_a_network_without_the_places_is_refused(defence: str) -> None:
    from rnabench.model.defended import Undefended, defended

    with pytest.raises(InvalidValue, match=f"defence: '{defence}' is not valid; expected another one: mine has no"):
        defended(Undefended(nn.Identity(), nn.Linear(2, 2), nn.Identity, "mine"), defence)
