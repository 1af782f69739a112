"""Paths as values, spaces of them, and the one way of setting them."""

from __future__ import annotations

import collections
import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rnabench.errors import InvalidValue
from rnabench.path.choice import ChoiceLayer, PathNotSet, choices_of, use_choices, use_path
from rnabench.path.path import Path
from rnabench.path.space import PathSpace
from rnabench.seeding import ExampleStreams, stream

rows = st.integers(1, 5).flatmap(
    lambda length: st.lists(st.tuples(*[st.integers(0, 14)] * length), min_size=1, max_size=4))


class Multiply(nn.Module):
    """No norm: choice layers choose among anything."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


def network(layers: int = 3) -> nn.Module:
    return nn.Sequential(*(ChoiceLayer({"one": Multiply(1.0), "ten": Multiply(10.0)}) for _ in range(layers)))


@given(rows)
def test_text_and_back(choices: list[tuple[int, ...]]) -> None:
    path = Path(tuple(choices))
    assert Path.parse(str(path)) == path
    assert hash(Path.parse(str(path))) == hash(path)


@given(rows, st.data())
def test_difference_is_a_metric(choices: list[tuple[int, ...]], data: st.DataObject) -> None:
    first = Path(tuple(choices))
    other = st.lists(st.tuples(*[st.integers(0, 14)] * len(first)), min_size=len(choices), max_size=len(choices))
    second, third = (Path(tuple(data.draw(other))) for _ in range(2))
    assert set(first.difference(first)) == {0}
    assert first.difference(second) == second.difference(first)
    for ab, bc, ac in zip(first.difference(second), second.difference(third), first.difference(third), strict=True):
        assert ac <= ab + bc <= 2 * len(first)


def test_one_view_may_be_open_twice() -> None:
    """Inside itself, with another between: each block ends with its own."""
    net = network(1)
    choices, other = (choices_of(net, Path.of(number)) for number in (1, 0))
    x = torch.ones(1)
    with use_choices(choices):
        with use_choices(other), use_choices(choices):
            assert float(net(x).detach()) == 10
        assert float(net(x).detach()) == 10


def test_a_path_is_whole_numbers_in_rows() -> None:
    for bad in (((0.7, 1.2),), torch.zeros(2, dtype=torch.int64), torch.zeros(1, 2),
                torch.zeros(0, 2, dtype=torch.int64)):
        with pytest.raises(InvalidValue):
            Path(bad)  # type: ignore[arg-type]


def test_rows_must_fit() -> None:
    for bad in [(), ((0, 1), (0,))]:
        with pytest.raises(InvalidValue):
            Path(bad)
    with pytest.raises(InvalidValue):
        Path.of(0, 1).difference(Path.of(0))


def test_a_layer_without_a_path_raises() -> None:
    with pytest.raises(PathNotSet, match="use_path"):
        network()(torch.ones(2, 1))


def test_use_path_nests_and_restores() -> None:
    net, x = network(), torch.ones(2, 1)
    with use_path(net, Path.of(0, 1, 1)):
        assert net(x).flatten().tolist() == [100, 100]
        with contextlib.suppress(RuntimeError), use_path(net, Path(((0, 0, 0), (1, 1, 1)))):
            assert net(x).flatten().tolist() == [1, 1000]
            raise RuntimeError("an error inside the block must not leave the path behind")
        assert net(x).flatten().tolist() == [100, 100]
    with pytest.raises(PathNotSet):
        net(x)


@pytest.mark.parametrize("path", [Path.of(0, 0), Path.of(0, 0, 2), Path.of(0, 0, -1), Path(((0, 0, 0), (0, 5, 0)))])
def test_a_path_that_does_not_fit_is_refused_and_changes_nothing(path: Path) -> None:
    net = network()
    with pytest.raises(InvalidValue, match="path"), use_path(net, path):
        pass
    with pytest.raises(PathNotSet):
        net(torch.ones(1, 1))


def test_space_counts_enumerates_and_draws_uniformly() -> None:
    space = PathSpace.of(network())
    everything = list(space.enumerate())
    assert len(set(everything)) == space.count == 8
    drawn = collections.Counter(space.sample(stream(0, "draws", k)) for k in range(4000))
    assert set(drawn) == set(everything)
    expected = 4000 / 8
    assert sum((count - expected) ** 2 / expected for count in drawn.values()) < 24.3  # chi-squared, 7 df, p = 0.001


def test_layer_based_draws_are_network_wide() -> None:
    net = network()
    net.layer_based = True
    space = PathSpace.of(net)
    assert space.count == 2
    assert set(space.enumerate()) == {Path.of(0, 0, 0), Path.of(1, 1, 1)}
    assert all(len(set(row)) == 1 for row in space.sample(stream(0), rows=50).rows)


def test_layers_may_differ_in_their_options() -> None:
    net = nn.Sequential(ChoiceLayer({str(k): Multiply(float(k)) for k in range(3)}), network(1))
    space = PathSpace.of(net)
    assert space.count == 6
    assert space.describe(Path.of(2, 1)) == {"0": "2", "1.0": "ten"}
    with pytest.raises(InvalidValue, match="layer-based"):
        PathSpace(space.layers, space.options, shared=True)
    with pytest.raises(InvalidValue, match="enumerate"):
        list(space.enumerate(limit=5))


@given(st.permutations(range(10, 20)), st.integers(1, 9))
@settings(deadline=None)
def test_draws_per_example_do_not_depend_on_the_batch(order: list[int], split: int) -> None:
    space = PathSpace.of(network())
    together = space.sample_each(ExampleStreams(3, "paths", indices=order)).rows
    first, rest = (space.sample_each(ExampleStreams(3, "paths", indices=part)).rows
                   for part in (order[:split], order[split:]))
    assert together == first + rest


def test_repeats_continue_an_examples_stream() -> None:
    space, indices = PathSpace.of(network()), [4, 9]
    at_once = space.sample_each(ExampleStreams(0, "x", indices=indices), repeats=3).rows
    streams = ExampleStreams(0, "x", indices=indices)
    assert at_once == space.sample_each(streams, 2).rows + space.sample_each(streams).rows


def test_streams_are_named() -> None:
    def draw(*names: str | int) -> float:
        return float(torch.rand((), generator=stream(5, *names)))

    assert draw("a", 1) == draw("a", 1)
    assert len({draw("a", 1), draw("a", 2), draw("b", 1), draw("a", "1"), draw("a/1")}) == 5


def test_paths_as_users_write_them() -> None:
    space = PathSpace(("a", "b", "c"), (tuple(map(str, "uvwxyzabcdef")),) * 3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        path = space.sample(generator)
        assert space.parse(str(path)) == path
        assert space.parse(",".join(map(str, path.rows[0]))) == path
    assert space.parse("v") == space.parse("1") == space.parse("111")
    shared = PathSpace(("a", "b"), (("u", "v"),) * 2, shared=True)
    assert shared.parse("11") == shared.parse("v")
    for text in ("01", "2", "", "-1", "0,1", "0,,1", "ü"):
        with pytest.raises(InvalidValue, match=r"path: .*an option for all layers"):
            shared.parse(text)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4).filter(lambda sizes: max(sizes) > 1), st.booleans(),
       st.integers(0, 9))
def test_another_path_is_never_the_same_and_may_be_any_other(sizes: list[int], shared: bool, seed: int) -> None:
    if shared:
        sizes = [max(sizes)] * len(sizes)
    space = PathSpace(tuple(map(str, range(len(sizes)))), tuple(tuple("abcd"[:size]) for size in sizes), shared)
    draws = 12 * space.count
    first = space.sample(stream(seed, "first"), draws)
    other = space.sample_other(first, ExampleStreams(seed, "other", indices=range(draws)))
    every = {path.rows[0] for path in space.enumerate()}
    assert set(other.rows) <= every
    assert all(mine != its for mine, its in zip(first.rows, other.rows, strict=True))
    same = Path(torch.tensor([space.sample(stream(seed, "one")).rows[0]] * draws))
    met = collections.Counter(space.sample_other(same, ExampleStreams(seed, "met", indices=range(draws))).rows)
    assert len(met) > (space.count - 1) * 0.9  # of 12 draws each, hardly one is never met
    assert max(met.values()) <= max(40, draws / (space.count - 1))


def test_there_is_no_other_path_than_the_only_one_and_in_a_large_space_any_will_do() -> None:
    one = PathSpace(("a",), (("x",),))
    with pytest.raises(InvalidValue, match="1 path"):
        one.sample_other(Path.of(0), ExampleStreams(0, indices=[0]))
    large = PathSpace(tuple(map(str, range(60))), (("x", "y", "z"),) * 60)
    first = large.sample(stream(0, "first"), 50)
    other = large.sample_other(first, ExampleStreams(0, "other", indices=range(50)))
    assert min(other.difference(first)) > 20
