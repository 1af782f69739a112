"""Super-networks: paths through operators, what each costs, and what it is the same as."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rnabench import build_model
from rnabench.errors import InvalidValue
from rnabench.exchange.export import frozen
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.normalizers import norm_factory
from rnabench.model.operators import LETTERS, OperatorChoice, normalised, one_of
from rnabench.norm.layers import BatchGroupNorm
from rnabench.path.choice import ChoiceLayer, choice_layers, use_path
from rnabench.path.path import Path
from rnabench.runtime.rate import work_of
from rnabench.seeding import stream
from rnabench.settings.spaces import parse_space
from rnabench.settings.training import TrainingSettings
from rnabench.training.update import Unused

NETWORKS = [("rs-lenet5", "none", 6), ("rs-resnet18", "gn2", 4), ("rs-resnet18", "bn+in", 4)]


def network(arch: str, space: str, width: int, operators: int | None = None) -> RandomizedClassifier:
    model = build_model(arch, space, 10, width, operators=operators, seed=1).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def images(count: int = 6, side: int = 16) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("operators", [2, 3, 4, 5])
def test_numbers_of_paths(operators: int) -> None:
    lenet = build_model("rs-lenet5", "none", operators=operators)
    resnet = build_model("rs-resnet18", "gn32", width=2, operators=operators)
    assert lenet.space.count == operators**5
    assert resnet.space.count == (operators * min(operators, 3)) ** 8
    assert sum(p.numel() for p in lenet.parameters()) == operators * 44_426
    assert build_model("rs-resnet18", "bn+in+ln", width=2, operators=operators).space.count == (
        (operators * min(operators, 3)) ** 8 * 3**20)  # a choice of a norm in each of 20 places, whatever the operator


def test_four_operators_are_usual() -> None:
    assert build_model("rs-resnet18", "gn32", width=2).space.count == 12**8
    assert build_model("rs-lenet5", "none").space.count == 4**5


@pytest.mark.parametrize(("super_network", "plain", "space"), [
    ("rs-lenet5", "lenet5", "none"), ("rs-resnet18", "resnet18", "bn+in")])
def test_one_operator_is_the_plain_network(super_network: str, plain: str, space: str) -> None:
    """By its weights, their names, and the seed that they come from."""
    ours, theirs = (build_model(arch, space, width=6, seed=3, **more) for arch, more in (
        (super_network, {"operators": 1}), (plain, {})))  # type: ignore[arg-type]
    states = [model.state_dict() for model in (ours, theirs)]
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(*pair) for pair in zip(*(state.values() for state in states), strict=True))
    path = theirs.space.sample(stream(0))
    assert torch.equal(ours.eval().on(path)(images().float()), theirs.eval().on(path)(images().float()))


@pytest.mark.parametrize(("arch", "space", "width"), NETWORKS)
def test_per_sample_paths_are_each_sample_alone(arch: str, space: str, width: int) -> None:
    model, x = network(arch, space, width), images()
    path = model.space.sample(stream(4), rows=len(x))
    alone = torch.cat([model.on(Path((row,)))(x[k : k + 1]) for k, row in enumerate(path.rows)])
    torch.testing.assert_close(model.on(path)(x), alone, rtol=1e-10, atol=1e-12)
    assert model.space.sample(stream(4), rows=len(x)) == path  # the same seed, the same path


@pytest.mark.parametrize(("arch", "space", "width"), NETWORKS)
def test_operators_train_when_their_path_is_taken_and_never_else(arch: str, space: str, width: int) -> None:
    model = network(arch, space, width)
    for seed in range(2):
        path = model.space.sample(stream(seed))
        used = {id(parameter) for parameter in frozen_in_place(model, path).parameters()}
        for chosen in (path, Path(path.rows * 3)):
            model.zero_grad()
            model.on(chosen)(images(3)).square().sum().backward()
            found = {id(p) for p in model.parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)}
            assert found <= used
            assert used - found <= {id(p) for p in model.parameters() if p.dim() == 1}  # biases in front of norms


def frozen_in_place(model: RandomizedClassifier, path: Path) -> nn.ModuleList:
    """What a path uses, the very modules: those outside of choices, and the chosen options."""
    with use_path(model, path):
        def used(module: nn.Module) -> list[nn.Module]:
            if isinstance(module, ChoiceLayer):
                assert isinstance(module.current, int)
                return used(module.options[module.current])
            inner = list(module.children())
            return [part for child in inner for part in used(child)] if inner else [module]
        return nn.ModuleList(used(model.network))


def layer(norm: str, operators: int = 3) -> nn.Module:
    convolutions = {LETTERS[k]: nn.Conv2d(4, 4, 3 + 2 * (k % 2), padding=1 + k % 2) for k in range(operators)}
    return one_of(normalised(convolutions, norm_factory(parse_space(norm)))).double()


@given(st.lists(st.integers(0, 2), min_size=1, max_size=7), st.sampled_from(["gn2", "in+ln", "bn"]), st.booleans())
@settings(deadline=None, max_examples=30)
def test_grouped_is_every_operator_for_all(choices: list[int], norm: str, training: bool) -> None:
    """Results, gradients and second derivatives, of any assignment of samples to operators."""
    module = layer(norm).train(training)
    count = len(choices)
    rows = [(choice, *[k % 2] * (len(choice_layers(module)) - 1)) for k, choice in enumerate(choices)]
    x = torch.rand(count, 4, 5, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    results = []
    for mixed in (OperatorChoice.mixed, ChoiceLayer.mixed):
        own, leaf = copy.deepcopy(module), x.clone().requires_grad_()
        with use_path(own, Path(tuple(rows)), as_tensor=True):
            out = mixed(own, leaf, torch.tensor(choices))  # type: ignore[arg-type]
        (slope,) = torch.autograd.grad(out.pow(3).sum(), leaf, create_graph=True)
        wanted = list(own.parameters())
        second = torch.autograd.grad(slope.square().sum(), wanted, allow_unused=True, materialize_grads=True)
        results.append([out, slope, *second, *own.buffers()])
    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-8, atol=1e-8)


def test_per_sample_paths_cost_one_path_each() -> None:
    model, x = build_model("rs-resnet18", "gn2", width=4).eval(), images(8).float()
    one, each = (work_of(lambda path=path: model.on(path)(x)).flops  # type: ignore[misc]
                 for path in (Path(((3, 2) * 8,)), Path(((3, 2) * 8, *((2, 2) * 8,) * 7))))
    assert one == each


def test_memory_format_is_kept() -> None:
    module, x = layer("gn2").float(), torch.rand(6, 4, 5, 5).to(memory_format=torch.channels_last).requires_grad_()
    with use_path(module, Path(tuple((k % 3,) for k in range(6)))):
        out = module(x)
    (slope,) = torch.autograd.grad(out.square().sum(), x)
    for tensor in (out, slope):
        assert tensor.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("arch", "space", "width"), NETWORKS)
def test_copies(arch: str, space: str, width: int) -> None:
    model, x = network(arch, space, width), images(3)
    path = model.space.sample(stream(1), rows=3)
    expected = model.on(path)(x)
    fresh = build_model(arch, space, 10, width).double().eval()
    fresh.load_state_dict(model.state_dict())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), fresh):
        assert torch.equal(twin.on(path)(x), expected)
        assert twin.space == model.space
        assert not {layer.key for layer in choice_layers(twin).values()} & {
            layer.key for layer in choice_layers(model).values()}


@pytest.mark.parametrize(("arch", "space", "width"), NETWORKS)
def test_frozen_it_has_what_its_path_uses(arch: str, space: str, width: int) -> None:
    model, x = network(arch, space, width), images(3)
    path = model.space.sample(stream(5))
    plain = frozen(model, path)
    torch.testing.assert_close(plain(x), model.on(path)(x), rtol=1e-9, atol=1e-9)
    assert not choice_layers(plain)
    assert sum(p.numel() for p in plain.parameters()) == sum(
        p.numel() for p in frozen_in_place(model, path).parameters())


def test_unused_operators_and_their_norms_stand_still() -> None:
    """Where paths are tensors, so that every gradient is there and may be zero; with momentum and weight decay."""
    model = network("rs-resnet18", "in+ln", 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    unused, path = Unused(model), model.space.sample(stream(6))
    used = {id(p) for p in frozen_in_place(model, path).parameters()}
    before = [p.detach().clone() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    unused.step(optimizer, path.choices)
    moved = {id(p) for p, old in zip(model.parameters(), before, strict=True) if not torch.equal(p, old)}
    assert moved == used


def test_layer_based_needs_equally_many_operators() -> None:
    assert build_model("rs-lenet5", "none", layer_based=True).space.count == 4
    assert build_model("rs-resnet18", "gn32", width=2, operators=3, layer_based=True).space.count == 3
    with pytest.raises(InvalidValue, match=r"layer-based.* the same number of options in every layer"):
        build_model("rs-resnet18", "gn32", width=2, layer_based=True)


@pytest.mark.parametrize(("refuse", "expected"), [
    (lambda: build_model("resnet18", "bn", operators=2), "operators: 2 .* one of rs-lenet5, rs-resnet18"),
    (lambda: build_model("rs-lenet5", "none", operators=0), "operators: 0 .* at least 1"),
])
def test_operators_where_there_are_none(refuse: Callable[[], object], expected: str) -> None:
    with pytest.raises(InvalidValue, match=expected):
        refuse()


def test_the_setting_is_left_out_where_it_says_nothing() -> None:
    plain, two, four = (TrainingSettings(arch="rs-lenet5", operators=number) for number in (None, 2, 4))
    assert "operators" not in plain.identity()
    assert len({each.digest() for each in (plain, two, four)}) == 3
    assert [each.options for each in (plain, two, four)] == [4, 2, 4]


def test_running_statistics_of_a_batch_are_those_of_its_path() -> None:
    module = layer("bn").train()
    with use_path(module, Path.of(1)):
        module(torch.rand(3, 4, 5, 5, dtype=torch.float64))
    counts = [int(norm.num_batches_tracked) for norm in module.modules() if isinstance(norm, BatchGroupNorm)]
    assert counts == [0, 1, 0]
