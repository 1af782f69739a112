"""A deployed network: the same weights under other statistics, as a choice between them, and as a mean over paths."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rnabench.errors import InvalidValue
from rnabench.exchange.export import frozen
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.deployment import deploy
from rnabench.model.factory import build_model
from rnabench.norm.layers import norm_layers, statistics_from
from rnabench.path.choice import ChoiceLayer, choice_layers
from rnabench.path.path import Path
from rnabench.path.space import PathSpace
from rnabench.settings.deployment import Deployment
from tests.helpers import lively_model

LAYERS = 6


def images(count: int = 5, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def deployed(model: RandomizedClassifier, **keys: object) -> RandomizedClassifier:
    return deploy(model, Deployment.model_validate(keys))


def held(model: RandomizedClassifier, *choices: int) -> Tensor:
    return model.on(Path.of(*choices))(images())


def test_as_it_was_trained_it_is_the_network_itself() -> None:
    model = lively_model("bn+in")
    assert deployed(model) is deployed(model, statistics="own", average=1) is model


@pytest.mark.parametrize("space", ["bn", "robust0.05", "bn-batch", "mbn", "bn+in"])
@pytest.mark.parametrize("statistics", ["running", "batch", "running-mean"])
def test_one_kind_of_statistics_is_the_setting_of_that_name(space: str, statistics: str) -> None:
    model = lively_model(space)
    used, path = deployed(model, statistics=statistics), Path.of(*[0] * LAYERS) if "+" in space else Path(((),))
    with statistics_from(model, statistics):  # type: ignore[arg-type]
        expected = model.on(path)(images())
    assert torch.equal(used.on(path)(images()), expected)
    assert used.space == model.space


def test_a_choice_of_statistics_has_the_networks_of_each_kind_among_its_paths() -> None:
    """On the path of all-running it is the plain network; on that of all-batch, the one by batch statistics."""
    model = lively_model("bn")
    used = deployed(model, statistics="running+batch")
    assert used.space.count == 2**LAYERS
    assert list(used.space.uniform_paths()) == ["running", "batch"]
    assert torch.equal(held(used, *[0] * LAYERS), model(images()))
    assert torch.equal(held(used, *[1] * LAYERS), deployed(model, statistics="batch")(images()))
    mixed = held(used, *[0, 1] * (LAYERS // 2))
    assert not torch.allclose(mixed, held(used, *[0] * LAYERS))


def test_the_options_of_a_choice_of_norms_become_more() -> None:
    model = lively_model("bn+in")
    used = deployed(model, statistics="running+batch")
    assert used.space.options == (("bn:running", "bn:batch", "in"),) * LAYERS
    assert used.space.layers == model.space.layers
    for theirs, ours in (((0, 2), (0, 1)), ((2, 0), (1, 0))):
        torch.testing.assert_close(held(used, *theirs * 3), held(model, *ours * 3), rtol=0, atol=0)


@given(st.lists(st.lists(st.integers(0, 2), min_size=LAYERS, max_size=LAYERS), min_size=4, max_size=4))
@settings(deadline=None, max_examples=15)
@example([[2, 0, 2, 0, 2, 0], [0] * 6, [2] * 6, [0, 2, 0, 2, 0, 2]])
def test_per_sample_rows_are_each_rows_path(rows: list[list[int]]) -> None:
    """A row of running statistics or an image's own is what the image gets on that path alone. By statistics of the
    batch it depends on what its mates were through earlier layers, so there all rows are alike."""
    used, x = deployed(lively_model("bn+in").double(), statistics="running+batch"), images(4).double()
    alone = [[0 if choice == 1 else choice for choice in row] for row in rows]
    logits = used.on(Path(alone))(x)
    for number, row in enumerate(alone):
        torch.testing.assert_close(logits[number], used.on(Path.of(*row))(x)[number], rtol=1e-7, atol=1e-7)
    together = Path([rows[0]] * 4)
    torch.testing.assert_close(used.on(together)(x), used.on(Path.of(*rows[0]))(x), rtol=1e-7, atol=1e-7)


@given(st.integers(2, 4), st.data(), st.booleans())
@settings(deadline=None, max_examples=20)
def test_an_average_is_the_mean_of_the_logits_of_its_parts(parts: int, data: st.DataObject, per_sample: bool) -> None:
    model, count = lively_model("bn+in"), 5 if per_sample else 1
    used, x = deployed(model, average=parts), images()
    assert used.space.count == model.space.count**parts
    seed = data.draw(st.integers(0, 999))
    path = used.space.sample(torch.Generator().manual_seed(seed), count)
    assert len(path) == parts * LAYERS
    each = [model.on(Path(path.choices[:, part * LAYERS : (part + 1) * LAYERS]))(x) for part in range(parts)]
    torch.testing.assert_close(used.on(path)(x), torch.stack(each).mean(0), rtol=1e-5, atol=1e-6)


def test_every_forward_draws_all_parts_anew() -> None:
    used = deployed(lively_model("bn+in"), average=2)
    first, second = used(images()), used(images())
    assert not torch.equal(first, second)
    used.reseed(0)
    torch.testing.assert_close(used(images()), first, rtol=0, atol=0)


def test_statistics_and_average_together() -> None:
    model = lively_model("bn")
    used = deployed(model, statistics="running+batch", average=2)
    halves = model(images()), deployed(model, statistics="batch")(images())
    torch.testing.assert_close(held(used, *[0] * LAYERS, *[1] * LAYERS), torch.stack(halves).mean(0))


@pytest.mark.parametrize("keys", [{"statistics": "batch"}, {"statistics": "running+batch"}, {"average": 3},
                                  {"statistics": "running+running-mean", "average": 2}])
def test_weights_are_shared_and_the_network_stays_as_it_was(keys: dict[str, object]) -> None:
    model = lively_model("bn+in")
    before = held(model, *[0] * LAYERS)
    used = deployed(model, **keys)
    assert {id(each) for each in used.parameters()} == {id(each) for each in model.parameters()}
    assert {id(each) for each in used.buffers()} == {id(each) for each in model.buffers()}
    assert all(norm.statistics == "own" for norm in norm_layers(model).values())
    assert torch.equal(held(model, *[0] * LAYERS), before)
    path = used.space.sample(torch.Generator().manual_seed(0))
    as_before = used.on(path)(images())
    with torch.no_grad():
        next(layer for layer in model.modules() if isinstance(layer, nn.Linear)).weight.mul_(2)
    torch.testing.assert_close(used.on(path)(images()), 2 * as_before)


def test_a_gradient_through_statistics_of_the_batch_reaches_batch_mates() -> None:
    used, x = deployed(lively_model("bn"), statistics="batch"), images().requires_grad_()
    (slope,) = torch.autograd.grad(used(x)[0].square().sum(), x)
    assert bool(slope[1:].abs().sum() > 0)


def test_mode_precision_granularity_and_draws_are_the_networks() -> None:
    model = build_model("resnet18", "bn+in", width=2, granularity="sample", seed=3)
    model.precision = "bf16"
    used = deployed(model.eval(), average=2)
    assert (used.training, used.precision, used.granularity) == (False, "bf16", "sample")
    assert not any(module.training for module in used.modules())
    assert torch.equal(used.generator.get_state(), model.generator.get_state())
    assert PathSpace.of(used) == used.space
    assert all(isinstance(layer, ChoiceLayer) for layer in choice_layers(used).values())


def test_a_path_can_be_frozen_into_a_plain_network() -> None:
    used = deployed(lively_model("bn+in"), statistics="running+batch", average=2)
    path = used.space.sample(torch.Generator().manual_seed(4))
    torch.testing.assert_close(frozen(used, path)(images()), used.on(path)(images()))


@pytest.mark.parametrize(("space", "keys", "layer_based", "words"), [
    ("gn4", {"statistics": "batch"}, False, "statistics: 'batch' is not valid; expected own: no normaliser of this "
     "network has statistics of batches"),
    ("none+in", {"statistics": "running+batch"}, False, "expected own"),
    ("bn", {"average": 2}, False, "average: 2 is not valid; expected 1: this network has a single path"),
    ("bn+in", {"average": 2}, True, "expected 1: this network makes one draw for all layers"),
])
def test_what_a_network_cannot_have(space: str, keys: dict[str, object], layer_based: bool, words: str) -> None:
    model = build_model("resnet18", space, width=4, layer_based=layer_based)
    with pytest.raises(InvalidValue, match=words) as caught:
        deployed(model, **keys)
    assert "\n" not in str(caught.value)


def test_layer_based_draws_of_a_choice_of_statistics() -> None:
    model = build_model("resnet18", "bn+in", width=2, layer_based=True)
    assert deployed(model, statistics="running+batch").space.count == 3
