"""A loop that was left anywhere, any number of times, ends as one that was not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rnabench.attack.attack import Attack
from rnabench.attack.estimators import Estimator, Expectation, OnePath
from rnabench.attack.resumable import Bookmark, Kept, Note, opened, remember, resumable
from rnabench.attack.threat import Linf
from rnabench.attack.whole_batch import InBatches, WholeBatch
from rnabench.path.path import Path
from rnabench.seeding import ExampleStreams
from rnabench.settings.attacks import parse_attack
from rnabench.settings.protocols import Average
from tests.helpers import lively_model


class Left(Exception):
    """The loops were left."""


class Slice:
    """Leaves after so many items; of 0, as soon as there is something new. What was noted then is in its bookmark."""

    def __init__(self, notes: Sequence[Note], items: int) -> None:
        self.items, self.bookmark, self.notes = items, Bookmark(notes, self.on_item), list(notes)

    def on_item(self) -> None:
        self.items -= 1
        if self.items < 0:
            self.notes = list(self.bookmark.notes)
            raise Left


def in_slices(work: Callable[[], Any], slices: Sequence[int]) -> Any:
    """What the work ends with if it is left again and again, after so many items each time, but not any more after the
    last slice."""
    notes: list[Note] = []
    for items in slices:
        one = Slice(notes, items)
        try:
            with opened(one.bookmark):
                return work()
        except Left:
            notes = one.notes
    with opened(Bookmark(notes)):
        return work()


class Numbers:
    """A source of random numbers with a position."""

    def __init__(self) -> None:
        self.drawn = 0
        remember(self, "drawn")

    def next(self) -> int:
        self.drawn += 1
        return self.drawn * 7919 % 101


# a statement is a number to add, or a loop: how often, whether it is forgotten, after which item it breaks, its body
Body = list[Any]
BODIES: st.SearchStrategy[Body] = st.recursive(
    st.lists(st.integers(0, 9), max_size=3),
    lambda inner: st.lists(st.integers(0, 9) | st.tuples(
        st.integers(0, 4), st.booleans(), st.none() | st.integers(0, 3), inner), max_size=3), max_leaves=8)


def run(body: Body, value: Tensor, numbers: Numbers) -> Tensor:
    for statement in body:
        if isinstance(statement, int):
            value = (31 * value + statement + numbers.next()) % 65537
            continue
        times, forget, end, inner = statement
        carried = Kept(value=value.clone(), inside=Kept(items=[]))
        for number in resumable(range(times), carried, forget):
            carried.value += 1  # in place
            carried.value = run(inner, carried.value, numbers)
            carried.inside.items.append(number)
            if number == end:
                break
        value = carried.value + len(carried.inside.items)
    return value


@settings(max_examples=150, deadline=None)
@given(BODIES, st.lists(st.integers(0, 6), max_size=12))
def test_any_loops_end_alike_wherever_they_are_left(body: Body, slices: list[int]) -> None:
    def work() -> tuple[int, int]:
        numbers = Numbers()
        return int(run(body, torch.tensor(1), numbers)), numbers.drawn

    assert in_slices(work, slices) == work()


@settings(max_examples=50, deadline=None)
@given(BODIES)
def test_every_slice_makes_progress(body: Body) -> None:
    """Left whenever there is something new, it comes to its end after as many slices as there is work."""
    count = [0]

    def work() -> int:
        return int(run(body, torch.tensor(1), Numbers()))

    def counted() -> None:
        count[0] += 1

    with opened(Bookmark((), counted)):
        whole = work()
    assert in_slices(work, [0] * (count[0] + 1)) == whole


def test_outside_of_a_block_nothing_is_remembered() -> None:
    remember(source := Numbers(), "drawn")
    assert [source.next() for _ in resumable(range(3), Kept())] == [Numbers().next(), 15838 % 101, 23757 % 101]
    bookmark = Bookmark()
    with opened(bookmark):
        pass
    assert (bookmark.notes, bookmark.remembered) == ([], [])


def test_notes_of_an_edited_loop_do_not_count() -> None:
    notes = [Note((0,), 2, False, [{"other": 1}])]
    with opened(Bookmark(notes)):
        assert list(resumable(range(3), Kept(value=0))) == [0, 1, 2]


MODEL = lively_model(layers=2)
IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1)).to(memory_format=torch.channels_last)
LABELS = torch.arange(3)


def estimator_of(kind: str) -> Estimator:
    if kind == "paper":
        return OnePath(MODEL, MODEL.space.sample(torch.Generator().manual_seed(2)))
    streams = ExampleStreams(0, "paths", indices=range(3 if kind == "per image" else 1))
    remember(streams, "drawn")

    def draw(repeats: int) -> Path:
        return MODEL.space.sample_each(streams, repeats if kind == "per image" else 1)

    average: Average = "probabilities" if kind == "probabilities" else "losses"
    if kind == "per image":
        return Expectation(MODEL, draw, 3, most_pixels=3 * 2 * 64)
    if kind == "whole batch":
        return WholeBatch(Expectation(InBatches(MODEL, 3), draw, 2), IMAGES)
    return Expectation(MODEL, draw, 2, average=average)


def attacked(name: str, kind: str, **more: int) -> Tensor:
    attack = parse_attack(name).parameters.model_copy(update=more)
    assert isinstance(attack, Attack)
    streams = ExampleStreams(0, "start", indices=range(3))
    remember(streams, "drawn")
    return attack.run(estimator_of(kind), IMAGES, LABELS, lambda *shape: streams.uniform(*shape).to(IMAGES),
                      Linf(24 / 255))


@pytest.mark.parametrize("kind", ["paper", "eot", "probabilities", "per image", "whole batch"])
@pytest.mark.parametrize(("name", "more"), [
    ("fgsm", {}), ("pgd3", {}), ("pgd2x2", {}), ("mifgsm3", {}), ("aggmo20", {"steps": 3}), ("storm20", {"steps": 3}),
    ("difgsm3", {}), ("apgd-ce", {"steps": 5, "restarts": 2}), ("apgd-t", {"steps": 2, "targets": 2}),
    ("square500", {"queries": 4}), ("cw3", {"searches": 1}), ("deepfool3", {}), ("dag3", {}), ("arc2", {}),
    ("reselect", {"steps": 2, "draws": 4}),
], ids=lambda each: each if isinstance(each, str) else "")
def test_every_attack_ends_with_the_same_bits(name: str, more: dict[str, int], kind: str) -> None:
    def work() -> Tensor:
        return attacked(name, kind, **more)

    assert torch.equal(in_slices(work, [5] * 400), work())


@pytest.mark.parametrize("name", ["pgd2", "storm20"])
def test_so_it_does_if_it_is_left_after_every_single_pass(name: str) -> None:
    def work() -> Tensor:
        return attacked(name, "eot", steps=2)

    passes = [0]

    def counted() -> Tensor:
        passes[0] += 1
        return work()

    assert torch.equal(in_slices(counted, [0] * 100), work())
    assert passes[0] > 4  # two steps of two draws each, at least
