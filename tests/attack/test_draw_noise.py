"""AggMo and STORM are PGD where they must be, and see through the noise of draws where PGD does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from rnabench.attack.attack import Attack
from rnabench.attack.draw_noise import AggMo, Storm
from rnabench.attack.estimators import Estimator, Expectation, OnePath
from rnabench.attack.gradient import PGD
from rnabench.attack.threat import L2, Linf
from rnabench.path.path import Path
from rnabench.path.space import PathSpace
from rnabench.seeding import ExampleStreams
from tests.attack.toys import LABELS, MIDDLE, DeafToDark, GivenGradients, TwoPaths, noise, silence


def fresh(toy: TwoPaths, samples: int = 3) -> Estimator:
    streams = ExampleStreams(0, "paths", indices=range(5))
    return Expectation(toy, lambda repeats: toy.space.sample_each(streams, repeats), samples)


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.1)], ids=["linf", "l2"])
@pytest.mark.parametrize("attack", [AggMo(steps=6, buffers=1), Storm(steps=6, fresh=1.0)], ids=["aggmo", "storm"])
def test_without_memory_they_are_pgd(attack: PGD, threat: Linf | L2) -> None:
    plain = PGD(steps=6).run(fresh(TwoPaths()), MIDDLE, LABELS, noise(5), threat)
    torch.testing.assert_close(attack.run(fresh(TwoPaths()), MIDDLE, LABELS, noise(5), threat), plain)


@pytest.mark.parametrize("buffers", [2, 3])
def test_aggmo_is_its_formula(buffers: int) -> None:
    gradients = [torch.randn(5, 3, 1, 1, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    following = iter(gradients)
    attack = AggMo(steps=4, step_size=0.01, buffers=buffers)
    found = attack.run(GivenGradients(lambda x: next(following)), MIDDLE, LABELS, lambda *shape: torch.full(
        (5, *shape), 0.5), Linf(1.0))
    x = MIDDLE.clone()
    for step in range(4):
        moved = torch.zeros_like(x)
        for number in range(buffers):
            beta = 1 - 0.1**number
            velocity = sum(beta ** (step - past) * g / g.abs().mean((1, 2, 3), keepdim=True)
                           for past, g in enumerate(gradients[: step + 1]))
            moved += 0.01 * torch.as_tensor(velocity).sign() / buffers
        x = x + moved
    torch.testing.assert_close(found, x)


@dataclass(frozen=True)
class Watching(Linf):
    """Keeps the directions that an attack would go, which move an image by a thousandth of what they are."""

    seen: list[Tensor] = field(default_factory=list)

    def step(self, candidate: Tensor, gradient: Tensor, size: float | Tensor) -> Tensor:
        self.seen.append(gradient)
        return candidate - 1e-3 * gradient


@pytest.mark.parametrize("fresh_share", [0.0, 0.3, 1.0])
def test_on_a_network_without_randomness_storm_follows_the_exact_gradient(fresh_share: float) -> None:
    toy, threat = TwoPaths(), Watching(1.0)
    Storm(steps=5, fresh=fresh_share).run(OnePath(toy, Path.of(1)), MIDDLE, LABELS, lambda *shape: torch.full(
        (5, *shape), 0.5), threat)
    x = MIDDLE
    for direction in threat.seen:
        torch.testing.assert_close(direction.flatten(1), toy.gradient(x, 1), rtol=1e-4, atol=1e-6)
        x = x - 1e-3 * direction


class NoisyBowl:
    """A margin of -(|x - 1/2|^2 / 2 + noise . x), with one of 200 noise vectors of mean 0 for each path."""

    space = PathSpace(("noise",), (tuple(str(number) for number in range(200)),))

    def __init__(self) -> None:
        half = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
        self.noise = torch.cat([half, -half])

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        drawn = self.noise[path.choices[:, 0]]

        def logits(images: Tensor) -> Tensor:
            x = images.flatten(1)
            score = ((x - 0.5).square() / 2 + drawn * x).sum(1)
            return torch.stack([-score / 2, score / 2], 1)

        return logits


@pytest.mark.parametrize(("fresh_share", "at_most"), [(0.5, 0.45), (0.1, 0.12)])
def test_on_a_noisy_bowl_storm_has_less_variance_than_the_plain_estimate(fresh_share: float, at_most: float) -> None:
    """The noise is the same wherever the image is, so that after many steps its share is fresh / (2 - fresh)."""
    bowl, images = NoisyBowl(), 0.3 + 0.4 * torch.rand(300, 3, 1, 1, generator=torch.Generator().manual_seed(1))

    def variance(attack: Attack) -> float:
        streams = ExampleStreams(2, "paths", indices=range(300))
        estimator = Expectation(bowl, lambda repeats: bowl.space.sample_each(streams, repeats), 2)
        threat, exact, places = Watching(1.0), list[Tensor](), images
        attack.run(estimator, images, torch.zeros(300, dtype=torch.int64), lambda *shape: torch.full(
            (300, *shape), 0.5), threat)
        for direction in threat.seen:
            exact.append(places - 0.5)
            places = places - 1e-3 * direction
        return float((threat.seen[-1] - exact[-1]).square().mean())

    plain, reduced = (variance(attack) for attack in (PGD(steps=40, loss="margin"),
                                                      Storm(steps=40, fresh=fresh_share, loss="margin")))
    assert plain == pytest.approx(float(bowl.noise.square().mean()) / 2, rel=0.2)
    assert reduced < at_most * plain


@pytest.mark.parametrize("attack", [AggMo(steps=4, step_size=0.05), Storm(steps=4, step_size=0.05)])
def test_an_image_without_a_gradient_stays_while_its_neighbours_move(attack: PGD) -> None:
    images = torch.full((3, 3, 2, 2), 0.7)
    images[1] = 0.2
    found = attack.run(OnePath(DeafToDark(), Path.of()), images, torch.zeros(3, dtype=torch.int64),
                       lambda *shape: torch.full((3, *shape), 0.5), Linf(0.1))
    assert torch.equal(found[1], images[1])
    assert bool((found[[0, 2]] < images[[0, 2]]).all())


def test_held_draws_count_once_in_the_forecast() -> None:
    assert Storm(steps=10).passes(True, 10) == (19, 0)
    assert AggMo(steps=10).passes(True, 10) == (10, 0)
    with pytest.raises(AssertionError, match="no random numbers"):
        Storm(steps=1).run(OnePath(TwoPaths(), Path.of(0)), MIDDLE, LABELS, silence, Linf(0.1))
