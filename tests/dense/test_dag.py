"""DAG on many targets: steps of one length, until no target is correct or the steps are used up."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rnabench.dense.dag import dense_adversary, perceptibility, permuted, wrong_class_of
from rnabench.dense.network import Targets
from rnabench.errors import NumericalError

IMAGE = 0.4 + 0.2 * torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0))
GAMMA = 2e-3


class Toy:
    """Targets whose logits are linear in the image; keeps the images that it was shown."""

    def __init__(self, targets: int, classes: int, seed: int) -> None:
        self.weights = torch.randn(targets, classes, IMAGE.numel(), generator=torch.Generator().manual_seed(seed))
        self.shown: list[Tensor] = []
        self.targets = Targets((self.weights @ IMAGE.flatten()).argmax(1), self.logits_of)

    def logits_of(self, image: Tensor) -> Tensor:
        self.shown.append(image.detach())
        return self.weights @ image.flatten()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_on_one_linear_target_the_number_of_steps_is_that_of_the_formula(seed: int) -> None:
    toy = Toy(1, 2, seed)
    label = int(toy.targets.labels[0])
    w = toy.weights[0, label] - toy.weights[0, 1 - label]
    needed = math.floor(float(w @ IMAGE.flatten()) / (GAMMA * float(w.square().sum() / w.abs().max()))) + 1
    found = dense_adversary(toy.targets, IMAGE, 1 - toy.targets.labels, GAMMA, 200)
    assert found.active == [1] * needed + [0]
    assert found.steps == needed
    torch.testing.assert_close(found.change.abs().max(), torch.tensor(needed * GAMMA), rtol=1e-4, atol=0)


@given(st.integers(1, 30), st.integers(2, 6), st.integers(0, 12), st.integers(0, 1000))
@settings(max_examples=40)
def test_steps_of_one_length_until_nothing_is_correct(count: int, classes: int, steps: int, seed: int) -> None:
    toy = Toy(count, classes, seed)
    wrong = wrong_class_of(classes, seed, 0)[toy.targets.labels]
    found = dense_adversary(toy.targets, IMAGE, wrong, GAMMA, steps)
    assert found.active[0] == count
    assert found.active[-1] == 0 or found.steps == steps
    assert all(found.active[:-1])  # it stops when none is active
    for before, after in zip(toy.shown, toy.shown[1:], strict=False):
        torch.testing.assert_close((after - before).abs().max(), torch.tensor(GAMMA), rtol=1e-3, atol=0)
    correct = (toy.weights @ (IMAGE + found.change).flatten()).argmax(1) == toy.targets.labels
    assert abs(int(correct.sum()) - found.active[-1]) <= 1  # but for rounding at a boundary
    assert len(toy.shown) == len(found.active)


def test_with_time_all_targets_fall() -> None:
    """There are more pixels than targets, so that one change can turn all of them."""
    toy = Toy(6, 3, 0)
    found = dense_adversary(toy.targets, IMAGE, wrong_class_of(3, 0, 0)[toy.targets.labels], GAMMA, 1000)
    assert found.active[-1] == 0


def test_nothing_to_attack_changes_nothing() -> None:
    none = Targets(torch.zeros(0, dtype=torch.int64), lambda image: image.new_zeros(0, 3))
    flat = Targets(torch.zeros(2, dtype=torch.int64), lambda image: 0 * image.sum() + torch.zeros(2, 3))
    for targets, active in ((none, [0]), (flat, [2])):
        found = dense_adversary(targets, IMAGE, targets.labels + 1, GAMMA, 5)
        assert found.active == active
        assert not found.change.any()


def test_the_image_stays_within_its_range() -> None:
    toy, dark = Toy(4, 3, 0), torch.zeros_like(IMAGE)
    targets = Targets(toy.logits_of(dark + 0.5).argmax(1), lambda image: toy.logits_of(image + 0.5))
    found = dense_adversary(targets, dark, (targets.labels + 1) % 3, 0.1, 5)
    assert found.change.any()
    assert float(found.change.min()) >= 0


def test_gradients_that_are_no_numbers_are_an_error() -> None:
    broken = Targets(torch.zeros(1, dtype=torch.int64), lambda image: torch.stack([(image - image).sqrt().sum(),
                                                                                   -image.sum()])[None])
    with pytest.raises(NumericalError, match="not finite"):
        dense_adversary(broken, IMAGE, torch.ones(1, dtype=torch.int64), GAMMA, 3)


@given(st.integers(2, 30), st.integers(0, 1000), st.integers(0, 1000))
def test_every_class_has_another_one(classes: int, seed: int, index: int) -> None:
    permutation = wrong_class_of(classes, seed, index)
    assert sorted(permutation.tolist()) == list(range(classes))
    assert not (permutation == torch.arange(classes)).any()
    assert torch.equal(permutation, wrong_class_of(classes, seed, index))


def test_permutations_without_fixed_points_are_equally_likely() -> None:
    drawn = [tuple(wrong_class_of(4, 0, index).tolist()) for index in range(450)]
    counts = [drawn.count(each) for each in set(drawn)]
    assert len(counts) == 9  # there are so many of four classes
    assert max(abs(count - 50) for count in counts) < 4.5 * (50 * 8 / 9) ** 0.5


@given(st.integers(1, 8), st.integers(2, 8), st.integers(0, 1000))
def test_the_permuted_control_keeps_every_norm(height: int, width: int, seed: int) -> None:
    change = torch.randn(3, height, width, generator=torch.Generator().manual_seed(seed))
    made = permuted(change, seed, 0, 3)
    assert len(made) == 3
    for each in made:
        assert torch.equal(each.flatten(1).sort(1).values, change.flatten(1).sort(1).values)
        rows, columns = ({tuple(line.sort().values.tolist()) for line in (each[0], each[0].T)[side]} for side in (0, 1))
        assert rows == {tuple(line.sort().values.tolist()) for line in change[0]}
        assert columns == {tuple(line.sort().values.tolist()) for line in change[0].T}
        assert perceptibility(each) == pytest.approx(perceptibility(change))


def test_draws_of_the_control_differ_and_another_change_of_the_image_is_permuted_alike() -> None:
    change = torch.arange(3 * 8 * 8.0).view(3, 8, 8)
    first, second = permuted(change, 0, 0, 2)
    assert not torch.equal(first, second)
    assert torch.equal(permuted(2 * change, 0, 0, 1)[0], 2 * first)
    assert not torch.equal(permuted(change, 0, 1, 1)[0], first)


def test_perceptibility_is_the_formula() -> None:
    change = torch.randn(3, 4, 5)
    pixels = change.numpy().transpose(1, 2, 0).reshape(-1, 3)
    assert perceptibility(change) == pytest.approx(np.sqrt(sum(pixel @ pixel for pixel in pixels) / 20), rel=1e-5)
    assert perceptibility(torch.full((3, 7, 2), 0.01)) == pytest.approx(0.01 * 3**0.5)
