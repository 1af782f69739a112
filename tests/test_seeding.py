"""Random numbers by name: known answers, independence of everything but the name, and the distributions."""

from __future__ import annotations

import collections

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnabench.seeding import MASK, ExampleStreams, philox

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"))


@pytest.mark.parametrize(("counter", "key", "answer"), [  # the known answers published with the algorithm
    ([0, 0, 0, 0], 0, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([MASK] * 4, 2**64 - 1, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], 0x299F31D0A4093822,
     [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
])
@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_philox_gives_its_published_answers(counter: list[int], key: int, answer: list[int], device: str) -> None:
    words = philox([torch.tensor([word], device=device) for word in counter], key)
    assert [int(word) for word in words] == answer


@given(indices=st.lists(st.integers(0, 2**40), min_size=2, max_size=6, unique=True), draws=st.integers(1, 4),
       places=st.integers(1, 9), split=st.integers(1, 5))
@settings(max_examples=30)
def test_a_number_depends_on_seed_purpose_example_draw_and_place_alone(
        indices: list[int], draws: int, places: int, split: int) -> None:
    whole = ExampleStreams(7, "purpose", indices=indices).words(places, draws)
    for row, index in enumerate(indices):
        alone = ExampleStreams(7, "purpose", indices=[index])
        one_by_one = torch.stack([alone.words(places)[0, 0] for _ in range(draws)])
        assert torch.equal(whole[:, row], one_by_one)
    later = ExampleStreams(7, "purpose", indices=indices, first=draws - 1)
    assert torch.equal(whole[-1], later.words(places)[0])
    assert torch.equal(whole[..., :split], ExampleStreams(7, "purpose", indices=indices).words(places + 3, draws)[
        ..., :min(split, places)])
    others = [ExampleStreams(8, "purpose", indices=indices), ExampleStreams(7, "another", indices=indices)]
    assert all(not torch.equal(whole, other.words(places, draws)) for other in others)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_same_bits_on_every_device() -> None:
    here, there = (ExampleStreams(3, "x", indices=range(100), device=device) for device in ("cpu", "cuda"))
    assert torch.equal(here.words(30, 3), there.words(30, 3).cpu())
    assert torch.equal(here.uniform(3, 8, 8), there.uniform(3, 8, 8).cpu())


def test_uniform_numbers_are_uniform_and_below_one() -> None:
    drawn = ExampleStreams(0, "u", indices=range(64)).uniform(3, 32, 32)
    assert drawn.shape == (64, 3, 32, 32)
    assert drawn.dtype == torch.float32
    assert 0 <= float(drawn.min()) < float(drawn.max()) < 1
    counts = torch.histc(drawn, 100, 0, 1)
    expected = drawn.numel() / 100
    chi_squared = float(((counts - expected) ** 2 / expected).sum())
    assert chi_squared < 99 + 5 * (2 * 99) ** 0.5  # five standard deviations
    across, along = torch.corrcoef(drawn.flatten(1)), torch.corrcoef(drawn.flatten(1)[:, :64].T)
    for correlations in (across, along):  # between examples, and between places
        off = correlations[~torch.eye(64, dtype=torch.bool)]
        assert float(off.abs().max()) < 0.75


def test_numbers_below_a_size_are_equally_likely() -> None:
    drawn = ExampleStreams(0, "below", indices=range(500)).below([2, 3, 7], draws=40)
    assert drawn.shape == (40, 500, 3)
    for place, size in enumerate((2, 3, 7)):
        counts = collections.Counter(drawn[..., place].flatten().tolist())
        assert set(counts) == set(range(size))
        expected = 20_000 / size
        assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())


def test_an_order_is_a_permutation_and_every_place_equally_likely() -> None:
    sums = torch.zeros(20)
    for draw in range(400):
        order = ExampleStreams(0, "order", indices=range(20), first=draw).order()
        assert sorted(order.tolist()) == list(range(20))
        sums += torch.argsort(order)
    assert float((sums / 400 - 9.5).abs().max()) < 5 * (399 / 12) ** 0.5 / 20
