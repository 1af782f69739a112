"""Activations: the thesis' formulas, and what a network with them is."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnabench import build_model
from rnabench.errors import InvalidValue
from rnabench.model.activations import use_activation
from rnabench.model.classifier import RandomizedClassifier
from rnabench.path.choice import ChoiceLayer
from rnabench.path.path import Path
from rnabench.seeding import stream
from rnabench.settings.architectures import ARCHITECTURES
from rnabench.settings.base import from_options
from rnabench.settings.parts import ACTIVATIONS, activations
from rnabench.settings.training import TrainingSettings
from rnabench.training.step import TrainingStep
from rnabench.training.update import CapturedUpdate, Update, decayed_or_not

X = torch.linspace(-3, 3, 601, dtype=torch.float64)
SMALL = {name: 6 if "lenet" in name else 1 if name in ("wrn16", "wrn32") else 4 for name in ARCHITECTURES
         if name not in ("resnet50", "resnet56", "resnet110")}


def built(text: str) -> nn.Module:
    (part,) = activations(text)
    module: nn.Module = ACTIVATIONS[part.kind].build(*part.numbers)
    return module.double()


def pick(positive: Callable[[Tensor], Tensor], negative: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.where(x >= 0, positive(x), negative(x))


def density(x: Tensor) -> Tensor:
    return torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)


# value and derivative, each as the thesis writes it
FORMULAS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "relu": (lambda x: x * (x > 0), lambda x: (x > 0).double()),
    "softplus": (lambda x: torch.log1p(x.exp()), torch.sigmoid),
    "softplus10": (lambda x: torch.log1p((10 * x).exp()) / 10, lambda x: torch.sigmoid(10 * x)),
    "silu": (lambda x: x / (1 + torch.exp(-x)), lambda x: x.sigmoid() * (1 + x * (1 - x.sigmoid()))),
    "elu2": (pick(lambda x: x, lambda x: 2 * (x.exp() - 1)), pick(torch.ones_like, lambda x: 2 * x.exp())),
    "celu2": (pick(lambda x: x, lambda x: 2 * ((x / 2).exp() - 1)), pick(torch.ones_like, lambda x: (x / 2).exp())),
    "smoothrelu": (pick(lambda x: x - torch.log(400 * x.abs() + 1) / 400, torch.zeros_like),
                   pick(lambda x: 400 * x / (1 + 400 * x), torch.zeros_like)),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_values_and_derivatives_are_the_formulas(name: str) -> None:
    value, derivative = FORMULAS[name]
    x = X[X != 0].clone().requires_grad_()
    result = built(name)(x)
    (slope,) = torch.autograd.grad(result.sum(), x)
    torch.testing.assert_close(result, value(x), rtol=0, atol=3e-9)  # torch's softplus is x where a x > 20
    torch.testing.assert_close(slope, derivative(x), rtol=0, atol=3e-9)


def test_gelu_is_x_by_the_normal_distribution_to_three_digits() -> None:
    exact = X * (1 + torch.erf(X / math.sqrt(2))) / 2
    gap = (built("gelu")(X) - exact).abs().max()
    assert 0 < gap < 1e-3  # 0: without tanh
    x = X.clone().requires_grad_()
    (slope,) = torch.autograd.grad(built("gelu")(x).sum(), x)
    assert (slope - (1 + torch.erf(X / math.sqrt(2))) / 2 - X * density(X)).abs().max() < 2e-3


def test_celu_is_elu_at_1_and_smooth_beyond_it() -> None:
    torch.testing.assert_close(built("celu")(X), built("elu")(X), rtol=1e-12, atol=1e-15)
    ends = torch.tensor([-1e-9, 1e-9], dtype=torch.float64, requires_grad=True)
    jumps = {}
    for name in ("elu2", "celu2"):
        (slopes,) = torch.autograd.grad(built(name)(ends).sum(), ends)
        jumps[name] = float((slopes[0] - slopes[1]).abs())
    assert jumps["celu2"] < 1e-8
    assert abs(jumps["elu2"] - 1) < 1e-8


def test_smooth_relu_becomes_a_relu_and_learns_a_everywhere() -> None:
    gaps = [float((X.relu() - built(f"smoothrelu{a}")(X)).abs().max().detach()) for a in (4, 40, 400, 4000)]
    assert gaps == sorted(gaps, reverse=True)
    assert abs(gaps[2] - 0.018) < 5e-4
    module, x = built("smoothrelu"), torch.tensor([-1e4, -1.0, -1 / 400, 0.0, 1e-8, 1.0, 1e4], dtype=torch.float64)
    for value in x:
        (slope,) = torch.autograd.grad(module(value), module.b)
        a = 400.0
        theirs = math.log1p(a * float(value)) / a**2 - float(value) / (a * (1 + a * float(value))) if value > 0 else 0.0
        assert math.isclose(float(slope), theirs * 2 * 20, rel_tol=1e-6, abs_tol=1e-12)  # a = b^2


def relus_of(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.ReLU)]


@pytest.mark.parametrize("arch", SMALL)
def test_every_place_has_a_relu_of_its_own(arch: str) -> None:
    """So that several activations make 2^places paths; a choice of both kinds is one path."""
    space, calls = "bn" if ARCHITECTURES[arch].normalised else "none", list[nn.Module]()
    operators = {"operators": 2} if ARCHITECTURES[arch].operators else {}
    model = build_model(arch, space, width=SMALL[arch], **operators)  # type: ignore[arg-type]
    for relu in relus_of(model):
        relu.register_forward_hook(lambda module, *_: calls.append(module))
    model(torch.rand(2, 3, 16, 16))
    assert len(calls) == len(set(calls)) == len(relus_of(model)) > 0
    drawn = build_model(arch, space, width=SMALL[arch], activation="relu+silu", **operators)  # type: ignore[arg-type]
    assert drawn.space.count == model.space.count * 2 ** len(calls)
    assert list(drawn.state_dict()) == list(model.state_dict())  # without parameters of their own


def test_resnet50_has_49_places() -> None:
    with torch.device("meta"):
        assert build_model("resnet50", "bn", 1000, activation="relu+silu").space.count == 2**49


def changed(activation: str, **settings: str) -> RandomizedClassifier:
    model = build_model("resnet18", "bn+in", width=4, activation=activation, seed=1, **settings)  # type: ignore[arg-type]
    nn.init.normal_(model.network[1].linear.weight, generator=stream(0))
    return model.double().eval()


def test_options_of_both_kinds_are_in_one_path_and_each_image_has_its_own() -> None:
    model, x = changed("relu+silu+smoothrelu"), torch.rand(5, 3, 16, 16, generator=stream(1), dtype=torch.float64)
    assert model.space.count == 2**20 * 3**17
    described = model.space.describe(model.space.sample(stream(2)))
    assert set(described.values()) == {"bn", "in", "relu", "silu", "smoothrelu"}
    path = model.space.sample(stream(3), 5)
    alone = torch.cat([model.on(Path((row,)))(x[k:k + 1]) for k, row in enumerate(path.rows)])
    torch.testing.assert_close(model.on(path)(x), alone, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "silu", "elu2"])
def test_one_option_of_a_choice_is_the_plain_network(activation: str) -> None:
    x = torch.rand(3, 3, 16, 16, generator=stream(1), dtype=torch.float64)
    plain, several = changed(activation), changed("relu+silu+elu2")
    names = ["bn", activation]
    same = Path.of(*(next(options.index(name) for name in names if name in options)
                     for options in several.space.options))
    torch.testing.assert_close(several.on(same)(x), plain.on(Path.of(*[0] * 20))(x))


def test_lenet_is_what_it_was_with_functions() -> None:
    model = build_model("lenet5", "none", seed=2).eval()
    state, x = model.state_dict(), torch.rand(3, 3, 28, 28, generator=stream(1))

    def layer(name: str) -> list[Tensor]:
        return [state[f"network.1.{name}.{part}"] for part in ("weight", "bias")]

    out = ((x - state["network.0.mean"]) / state["network.0.std"]).mean(1, keepdim=True)
    for name in ("conv1", "conv2"):
        out = F.max_pool2d(F.relu(F.conv2d(out, *layer(name))), 2)
    out = out.flatten(1)
    for name in ("linear1", "linear2"):
        out = F.relu(F.linear(out, *layer(name)))
    torch.testing.assert_close(model(x), F.linear(out, *layer("linear3")))


def test_anybodys_network_takes_an_activation() -> None:
    shared = nn.ReLU()
    network = nn.Sequential(nn.Linear(2, 3), shared, nn.Linear(3, 3), shared, nn.Sequential(nn.ReLU(), nn.Linear(3, 1)))
    use_activation(network, "silu+gelu")
    assert isinstance(network[1], ChoiceLayer)
    assert network[1] is network[3]  # a module in two places is one choice
    assert not relus_of(network)
    with pytest.raises(InvalidValue, match=r"activation: 'silu' is not valid; expected 'relu': .* no nn.ReLU modules"):
        use_activation(nn.Linear(2, 2), "silu")


@pytest.mark.parametrize("kind", [Update, CapturedUpdate])
def test_what_an_activation_learns_has_no_weight_decay(kind: type[Update]) -> None:
    recipe = from_options(TrainingSettings, {"arch": "lenet5", "activation": "smoothrelu"})
    model = build_model(**recipe.network)
    decayed, spared = decayed_or_not(model)
    assert [parameter.shape for parameter in spared] == [torch.Size([])] * 4
    assert len(decayed) + len(spared) == len(list(model.parameters()))
    optimizer = kind(TrainingStep(model, recipe)).optimizer
    assert {group["weight_decay"]: len(group["params"]) for group in optimizer.param_groups} == {5e-4: 10, 0.0: 4}
    plain = kind(TrainingStep(build_model("lenet5", "none"), recipe)).optimizer
    assert [len(group["params"]) for group in plain.param_groups] == [10]  # as before
