"""The choice among AutoAttack's candidates by many draws: no lucky draw ends it, and the best candidate is taken."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rnabench.attack.estimators import Expectation
from rnabench.attack.reselect import Reselect
from rnabench.attack.threat import Linf
from rnabench.path.path import Path
from rnabench.path.space import PathSpace
from rnabench.seeding import ExampleStreams
from tests.attack.toys import noise


class Whimsical:
    """Four classes, and ten paths. On the first, every image is misclassified, whatever it shows; on the others it is
    class 0 until it is darker than `boundary` in the mean."""

    space = PathSpace(("mood",), (tuple("0123456789"),))

    def __init__(self, boundary: float) -> None:
        self.boundary = boundary

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        moody = path.choices[:, 0] == 0

        def logits(images: Tensor) -> Tensor:
            score = 10 * (images.flatten(1).mean(1) - self.boundary)
            score = torch.where(moody, -1 - score.detach().abs(), score)
            return torch.stack([score, -score, -1 - score.abs(), -2 - score.abs()], 1)

        return logits


def fresh(toy: Whimsical, images: int, samples: int) -> Expectation:
    streams = ExampleStreams(0, "paths", indices=range(images))
    return Expectation(toy, lambda repeats: toy.space.sample_each(streams, repeats), samples)


def test_an_image_that_one_lucky_draw_misclassifies_is_attacked_all_the_same() -> None:
    """AutoAttack's rand leaves the tenth of them as they were that its first forward got wrong."""
    images, labels = torch.full((40, 3, 2, 2), 0.6), torch.zeros(40, dtype=torch.int64)
    toy = Whimsical(0.55)
    found = Reselect(steps=8, draws=20).run(fresh(toy, 40, 4), images, labels, noise(40), Linf(0.1))
    assert bool((fresh(toy, 40, 4).wrong(found, labels, at_least=40) == 1).all())


class Fixed:
    """A try that is known beforehand."""

    def __init__(self, found: Tensor) -> None:
        self.found = found

    def run(self, *rest: object) -> Tensor:
        return self.found


def test_of_all_tries_and_the_clean_image_the_one_that_most_draws_misclassify_is_taken(
        monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Whimsical(0.5)
    right, wrong = torch.full((3, 3, 2, 2), 0.6), torch.full((3, 3, 2, 2), 0.4)
    first, second, images = right.clone(), right.clone() + 0.01, right.clone() + 0.02
    first[0], second[1], images[2] = wrong[0], wrong[1], wrong[2]  # the best of image k is try k
    monkeypatch.setattr(Reselect, "parts", property(lambda self: (Fixed(first), Fixed(second))))
    found = Reselect(draws=40).run(fresh(toy, 3, 4), images, torch.zeros(3, dtype=torch.int64), noise(3), Linf(0.5))
    assert torch.equal(found, wrong)
