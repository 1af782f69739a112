"""Layers whose option number is a seed: the laws of their random numbers, and spaces of so many paths."""

from __future__ import annotations

import collections
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from rnabench.errors import InvalidValue
from rnabench.path.choice import ChoiceLayer, PathNotSet, choice_layers, choose_alike_within, use_path
from rnabench.path.names import Numbers
from rnabench.path.path import Path
from rnabench.path.seeds import SEEDS, SeedLayer
from rnabench.path.space import PathSpace
from rnabench.seeding import ExampleStreams, stream
from rnabench.settings import parts

seeds = st.integers(0, SEEDS - 1)


class Add(SeedLayer):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.gaussian(x.shape[1:], x.device)


def mixed() -> nn.Module:
    """A choice between two things in front of two layers with seeds."""
    return nn.Sequential(ChoiceLayer({"flat": nn.Flatten(), "same": nn.Identity()}), Add(), Add())


def drawn(seed: int, *shape: int, kind: str = "gaussian") -> Tensor:
    layer = SeedLayer()
    with use_path(layer, Path.of(seed)):
        numbers: Tensor = getattr(layer, kind)(shape, torch.device("cpu"))
    return numbers


@given(seeds, st.lists(seeds, min_size=1, max_size=4))
def test_an_image_has_the_numbers_of_its_row_whoever_is_beside_it(seed: int, others: list[int]) -> None:
    layer, x = Add(), torch.zeros(1 + len(others), 3, 2, 5)
    with use_path(layer, Path(tuple((each,) for each in (seed, *others)))):
        rows = layer(x)
    assert torch.equal(rows[:1], drawn(seed, 3, 2, 5))
    for other, row in zip(others, rows[1:], strict=True):
        assert torch.equal(row, rows[0]) == (other == seed)
    for as_tensor in (False, True):
        with use_path(layer, Path.of(seed), as_tensor=as_tensor):  # one row: all images have the same
            assert torch.equal(layer(x), rows[:1].expand_as(x))


@given(seeds, st.integers(1, 9), st.integers(1, 40))
def test_a_place_has_its_number_in_tensors_of_any_size(seed: int, few: int, more: int) -> None:
    for kind in ("gaussian", "uniform"):
        assert torch.equal(drawn(seed, few + more, kind=kind)[:, :few], drawn(seed, few, kind=kind))


@pytest.mark.parametrize(("kind", "mean", "variance", "fourth"), [
    ("gaussian", 0, 1, 3), ("uniform", 1 / 2, 1 / 12, 1 / 80)])
def test_moments_and_independence(kind: str, mean: float, variance: float, fourth: float) -> None:
    layer, count = SeedLayer(), 400
    with use_path(layer, Path(tuple((7 * seed,) for seed in range(count)))):
        x = getattr(layer, kind)((count,), torch.device("cpu")).double()
    assert float(x.abs().max()) < (1 if kind == "uniform" else 6)
    assert float(x.min()) < 0 or kind == "uniform"
    error = math.sqrt(fourth - variance**2) / count  # of the mean of so many squares
    assert float(x.mean()) == pytest.approx(mean, abs=5 * math.sqrt(variance) / count)
    assert float((x - mean).square().mean()) == pytest.approx(variance, abs=5 * error)
    assert float((x - mean).pow(4).mean()) == pytest.approx(fourth, rel=0.05)
    scaled = (x - mean) / math.sqrt(variance)
    for one, other in ((scaled[:, :-1], scaled[:, 1:]), (scaled[:-1], scaled[1:]), (scaled[:, ::2], scaled[:, 1::2])):
        assert abs(float((one * other).mean())) < 5 / math.sqrt(one.numel())  # neighbours in an image, and beside it


def test_a_layer_without_a_path_raises() -> None:
    with pytest.raises(PathNotSet, match="use_path"):
        Add()(torch.ones(1, 2))


def test_a_space_with_seeds_is_counted_drawn_written_and_read() -> None:
    space = PathSpace.of(mixed())
    assert space.count == 2 * SEEDS**2
    assert space.is_random
    assert SEEDS == parts.SEEDS
    rows = space.sample(stream(0, "rows"), 2000)
    by_each = space.sample_each(ExampleStreams(0, "each", indices=range(1000)), 2)
    for path in (rows, by_each):
        assert Path.parse(str(path)) == path
        choices = path.choices.double()
        assert choices.min() >= 0
        assert 0.97 * SEEDS < float(choices[:, 1:].max()) < SEEDS
        assert (choices[:, 1:].mean(0) / SEEDS - 0.5).abs().max() < 5 / math.sqrt(12 * 2000)
        assert len(set(path.rows)) == 2000
    one = rows.take(torch.tensor([3]))
    assert space.parse(str(one)) == one == space.parse(",".join(map(str, one.rows[0])))
    seed = str(one.rows[0][1])
    assert space.describe(one) == {"0": ("flat", "same")[one.rows[0][0]], "1": seed, "2": str(one.rows[0][2])}
    other = space.sample_other(rows, ExampleStreams(0, "other", indices=range(2000)))
    assert min(other.difference(rows)) >= 2


def test_nobody_goes_through_all_seeds() -> None:
    space = PathSpace.of(mixed())
    assert space.uniform_paths() == {}
    with pytest.raises(InvalidValue, match=r"paths' is not valid; expected at most 4096 to enumerate"):
        next(space.enumerate())
    for refused in (lambda: list(Numbers(3)), lambda: "1" in Numbers(3)):  # type: ignore[operator, call-overload]
        with pytest.raises(TypeError):
            refused()
    for text in ("flat", "01", "0.1.2147483648.", "0.1.99999999999999999999."):
        with pytest.raises(InvalidValue, match=r"path: .* expected (a number for each of 3 layers|choices as in)"):
            space.parse(text)
    with pytest.raises(InvalidValue, match="path"), use_path(mixed(), Path.of(0, 0, SEEDS)):
        pass


def test_pairs_at_every_difference_also_where_there_are_more_paths_than_a_float_counts() -> None:
    space = PathSpace(tuple(map(str, range(40))), (Numbers(SEEDS),) * 40)
    generator = stream(0, "pairs")
    first = space.sample(generator)
    met = collections.Counter[int]()
    for _ in range(30):
        other = space.at_difference(first, 20, generator)
        assert other.difference(first) == (20,)
        met.update(layer for layer in range(40) if other.rows[0][layer] != first.rows[0][layer])
    assert space.count_in_digits == str(2 ** (31 * 40))
    wide = PathSpace(tuple(map(str, range(500))), (Numbers(SEEDS),) * 500)  # more digits than Python writes of an int
    assert len(wide.count_in_digits) == math.floor(31 * 500 * math.log10(2)) + 1
    assert int(wide.count_in_digits[-6:]) == wide.count % 10**6
    assert len(met) == 40
    assert max(met.values()) < 28
    assert space.difference_shares[-1] == pytest.approx(1)
    assert space.differences[-1] == 40


def test_options_share_the_choices_inside_of_them() -> None:
    network = nn.Sequential(ChoiceLayer({"a": mixed(), "b": nn.Sequential(Add(), mixed())}), Add())
    assert len(choice_layers(network)) == 1 + 3 + 4 + 1
    choose_alike_within(network)
    assert len(choice_layers(network)) == 1 + 1 + 3 + 1  # the choice, and of layers with seeds as many as b has
    space = PathSpace.of(network)
    assert space.count == 2 * 2 * SEEDS**4
    with use_path(network, Path.of(1, 1, 5, 6, 7, 8)):
        result = network(torch.zeros(1, 4))
    assert torch.allclose(result, sum(drawn(seed, 4) for seed in (5, 6, 7, 8)), atol=1e-6)  # type: ignore[arg-type]
