"""Branches of mixture BNs at inference: one of them, or a choice in every layer; and two BNs to draw from."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rnabench.errors import InvalidSettings, InvalidValue
from rnabench.exchange.export import frozen
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.deployment import deploy
from rnabench.model.factory import build_model
from rnabench.norm.layers import BatchGroupNorm, statistics_from
from rnabench.norm.mixture import mixtures, use_branch
from rnabench.path.path import Path
from rnabench.settings.base import from_options
from rnabench.settings.deployment import Deployment, with_use
from rnabench.settings.spaces import parse_space
from tests.helpers import lively_model

LAYERS = 6


def images(count: int = 5) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network(space: str = "mbn") -> RandomizedClassifier:
    """Its branches differ in everything that a BN has."""
    model, generator = lively_model(space), torch.Generator().manual_seed(1)
    for mixture in mixtures(model):
        for branch in mixture.norms.values():
            for value in (branch.weight, branch.bias):
                value.data.add_(0.3 * torch.randn(value.shape, generator=generator))  # type: ignore[operator, union-attr, arg-type]
    return model


def used(model: RandomizedClassifier, **keys: object) -> RandomizedClassifier:
    return deploy(model, Deployment.model_validate(keys))


@pytest.mark.parametrize("space", ["mbn", "mbn+in"])
@pytest.mark.parametrize("statistics", ["own", "batch"])
def test_one_branch_is_the_network_inside_use_branch(space: str, statistics: str) -> None:
    model, path = network(space), Path.of(*[0, 1] * (LAYERS // 2)) if "+" in space else Path(((),))
    logits = {}
    for branch in ("clean", "adv"):
        with use_branch(model, branch), statistics_from(model, statistics):  # type: ignore[arg-type]
            logits[branch] = model.on(path)(images())
        deployed = used(model, branch=branch, statistics=statistics)
        assert torch.equal(deployed.on(path)(images()), logits[branch])
        assert deployed.space == model.space
        torch.testing.assert_close(frozen(deployed, path)(images()), logits[branch])
    assert not torch.allclose(logits["clean"], logits["adv"])
    assert {mixture.branch for mixture in mixtures(model)} == {"clean"}  # the network stays as it is


def test_both_are_a_choice_in_every_layer() -> None:
    model = network()
    both = used(model, branch="clean+adv")
    assert both.space.options == (("clean", "adv"),) * LAYERS
    for place, branch in enumerate(("clean", "adv")):
        with use_branch(model, branch):
            assert torch.equal(both.on(Path.of(*[place] * LAYERS))(images()), model(images()))
    assert {id(each) for each in both.parameters()} == {id(each) for each in model.parameters()}
    assert {id(each) for each in both.buffers()} <= {id(each) for each in model.buffers()}
    path = both.space.sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(frozen(both, path)(images()), both.on(path)(images()))


@given(st.lists(st.lists(st.integers(0, 2), min_size=LAYERS, max_size=LAYERS), min_size=4, max_size=4))
def test_per_sample_rows_are_each_rows_path(rows: list[list[int]]) -> None:
    both = used(network("mbn+in").double(), branch="clean+adv")
    assert both.space.options[0] == ("mbn:clean", "mbn:adv", "in")
    together = both.on(Path(rows))(images(4).double())
    for number, row in enumerate(rows):
        alone = both.on(Path.of(*row))(images(4).double())[number]
        torch.testing.assert_close(together[number], alone, rtol=1e-7, atol=1e-7)


def test_branches_and_statistics_and_averages_together() -> None:
    model = network()
    assert used(model, branch="adv", statistics="running+batch").space.options[0] == ("running", "batch")
    every = used(model, branch="clean+adv", statistics="running+batch")
    assert every.space.options[0] == ("clean:running", "clean:batch", "adv:running", "adv:batch")
    for place, (branch, statistics) in enumerate((("clean", "running"), ("clean", "batch"), ("adv", "running"),
                                                  ("adv", "batch"))):
        expected = used(model, branch=branch, statistics=statistics)(images())
        torch.testing.assert_close(every.on(Path.of(*[place] * LAYERS))(images()), expected, rtol=0, atol=0)
    two = used(model, branch="clean+adv", average=2)
    halves = torch.stack([used(model, branch=branch)(images()) for branch in ("clean", "adv")])
    torch.testing.assert_close(two.on(Path.of(*[0] * LAYERS, *[1] * LAYERS))(images()), halves.mean(0))
    batch = used(model, branch="clean+adv", statistics="batch")
    assert batch.batch_dependent
    assert batch.space.options[0] == ("clean", "adv")


def test_branches_that_are_alike_give_the_same_on_every_path() -> None:
    model = lively_model("mbn")
    for mixture in mixtures(model):
        mixture.norms["adv"].load_state_dict(mixture.norms["clean"].state_dict())
    both = used(model, branch="clean+adv")
    for seed in range(4):
        path = both.space.sample(torch.Generator().manual_seed(seed))
        assert torch.equal(both.on(path)(images()), model(images()))


def test_what_may_be_said() -> None:
    assert Deployment(branch="Clean + adv").changes() == {"branch": "clean+adv"}
    assert Deployment(branch="own").changes() == {}
    assert with_use("mbn", Deployment(branch="adv").changes()) == "mbn, branch adv"
    for value, words in (("advers", "expected own, or one of clean, adv, .*; did you mean 'adv'"),
                         ("own+adv", "expected own"), ("adv+adv", "expected each branch once"), ("", "expected own")):
        with pytest.raises(InvalidSettings, match=f"--branch: .*{words}") as caught:
            from_options(Deployment, {"branch": value})
        assert "\n" not in str(caught.value)
    with pytest.raises(InvalidValue, match="branch: 'adv' is not valid; expected own: no normaliser of this network"):
        used(lively_model("bn+in"), branch="adv")


def test_a_second_bn_is_a_bn_of_its_own() -> None:
    """Alone it is BN; beside BN it is another, with a scale, shift and statistics that its own images move."""
    plain, second = build_model("resnet18", "bn", width=2), build_model("resnet18", "bn-aux", width=2)
    torch.testing.assert_close(dict(second.state_dict()), dict(plain.state_dict()), rtol=0, atol=0)
    torch.testing.assert_close(second(images()), plain(images()), rtol=0, atol=0)
    torch.testing.assert_close(dict(second.state_dict()), dict(plain.state_dict()), rtol=0, atol=0)
    both = build_model("resnet18", "bn+bn-aux", width=2)
    assert both.space.options[0] == ("bn", "bn-aux")
    both.on(Path.of(*[1] * len(both.space.layers)))(images())
    moved = {name: int(layer.num_batches_tracked) for name, layer in both.named_modules()
             if isinstance(layer, BatchGroupNorm)}
    assert {count for name, count in moved.items() if name.endswith("options.1")} == {1}
    assert {count for name, count in moved.items() if name.endswith("options.0")} == {0}
    assert str(parse_space("BN+bn-aux")) == "bn+bn-aux"
