"""The attack inside of a training step: where it starts, what it goes for, and what one step of it does."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from rnabench.attack.gradient import PGD, TargetedPGD
from rnabench.data.batches import Batch, ResidentSource
from rnabench.path.path import Path
from rnabench.settings.base import from_options
from rnabench.settings.training import OBJECTIVES, TrainingSettings
from rnabench.training.holdout import holdout_accuracy
from rnabench.training.step import TrainingStep
from tests.helpers import lively_model, random_images
from tests.training.test_update import batch, update_of

CLASSES = 10


def step_of(space: str = "bn", **keys: object) -> TrainingStep:
    recipe = from_options(TrainingSettings, {"space": space, "width": 2, **keys})
    return TrainingStep(lively_model(space).double(), recipe, classes=CLASSES)


def many(count: int, size: int = 1, first: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = 0.2 + 0.6 * torch.rand(count, 3, size, size, generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    return Batch(images, labels, list(range(first, first + count)))


@given(st.integers(0, 99), st.integers(0, 20), st.floats(0, 1))
@settings(max_examples=20)
def test_clean_starts_are_counted_draws_of_examples(seed: int, epoch: int, share: float) -> None:
    """Others keep the start that they have without; none depends on the batch; a larger share has the smaller one's."""
    step, plain = step_of(clean_start=share, seed=seed), step_of(seed=seed)
    whole, noise = step.start("attack", many(40), epoch), plain.start("attack", many(40), epoch)
    clean = (whole == 0.5).flatten(1).all(1)
    assert torch.equal(whole[~clean], noise[~clean])
    assert torch.equal(step.start("attack", many(15, first=25), epoch), whole[25:])
    more = step_of(clean_start=min(1.0, share + 0.2), seed=seed).start("attack", many(40), epoch)
    assert bool((more == 0.5).flatten(1).all(1)[clean].all())


def test_the_share_of_clean_starts_is_binomial() -> None:
    step = step_of(clean_start=0.2)
    clean = torch.stack([(step.start("attack", many(500), epoch) == 0.5).flatten(1).all(1) for epoch in range(20)])
    assert stats.binomtest(int(clean.sum()), clean.numel(), 0.2).pvalue > 1e-3
    together = int((clean[1:] & clean[:-1]).sum())  # of an example, one epoch says nothing of the next
    assert stats.binomtest(together, clean[1:].numel(), 0.04).pvalue > 1e-3


def test_a_clean_start_is_the_image_itself() -> None:
    step, examples = step_of(clean_start=1.0), many(30, 4)
    start = step.start("attack", examples, 3).double()
    assert torch.equal(step.attack()[1].start(examples.images, start), examples.images)


def test_targets_are_uniform_over_the_wrong_classes() -> None:
    step, examples = step_of(target="random"), many(900)
    drawn = torch.stack([step.targets("attack", examples, epoch) for epoch in range(10)])  # type: ignore[arg-type]
    further = (drawn - examples.labels) % CLASSES
    assert bool((further > 0).all())
    assert stats.chisquare(torch.bincount(further.flatten(), minlength=CLASSES)[1:].numpy()).pvalue > 1e-3
    one = step.targets("attack", many(100, first=100), 4)
    assert one is not None
    assert torch.equal((one - many(100).labels) % CLASSES, further[4, 100:200])  # whatever its batch and label
    assert step_of().targets("attack", examples, 0) is None
    with pytest.raises(ValueError, match="classes"):
        TrainingStep(step.model, step.recipe).targets("attack", examples)


def test_a_targeted_attack_lowers_the_loss_towards_its_target() -> None:
    """And is PGD with the opposite gradient."""
    step, examples = step_of(target="random", attack_mode="eval", eps=0.2, steps=10), many(24, 8)
    targets = step.targets("attack", examples)
    assert targets is not None
    start = step.start("attack", examples).double()
    attack, threat = step.attack()
    adversarial = step.adversarial(attack, threat, examples.images, targets, Path(((),)), lambda *shape: start)
    near = threat.start(examples.images, start)
    logits, before = step.model(adversarial), step.model(near)
    lower = F.cross_entropy(logits, targets, reduction="none") < F.cross_entropy(before, targets, reduction="none")
    assert float(lower.double().mean()) > 0.9
    assert int((logits.argmax(1) == targets).sum()) > int((before.argmax(1) == targets).sum())
    scores = torch.randn(5, CLASSES, requires_grad=True)
    for kind, sign in ((PGD, 1), (TargetedPGD, -1)):
        (slope,) = torch.autograd.grad(kind(steps=1).objective(scores, targets[:5]).sum(), scores)
        torch.testing.assert_close(slope, sign * (scores.softmax(1) - F.one_hot(targets[:5], CLASSES)))


@pytest.mark.parametrize("kind", ["plain", "captured"])
def test_a_step_attacks_towards_its_draws_targets(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    update = update_of(kind, "bn", "cpu", {"target": "random"})
    seen: list[Tensor] = []
    original = update.step.adversarial
    monkeypatch.setattr(update.step, "adversarial", lambda *given: (seen.append(given[3].clone()), original(*given))[1])
    for number in (0, 1):
        update(batch(number, "cpu"), 0, number, 0.1)
        assert torch.equal(seen[-1], update.step.draw(batch(number, "cpu"), 0, number).targets)  # type: ignore[arg-type]


def test_one_step_of_size_eps_is_no_fgsm() -> None:
    """From a uniform start half of the pixels end on the boundary, and |change| is 0.75 eps in the mean."""
    step, examples = step_of(eps=0.05, step_size=0.05, steps=1, attack_mode="eval"), many(64, 16)
    start = step.start("attack", examples).double()
    adversarial = step.adversarial(*step.attack(), examples.images, examples.labels, Path(((),)), lambda *shape: start)
    change = (adversarial - examples.images).abs()
    moved = change != (step.attack()[1].start(examples.images, start) - examples.images).abs()
    assert float(moved.double().mean()) > 0.95  # a gradient that is 0 moves nothing
    assert float((change > 0.05 - 1e-9)[moved].double().mean()) == pytest.approx(0.5, abs=0.01)
    assert float(change[moved].mean()) == pytest.approx(0.75 * 0.05, rel=0.01)


@given(st.floats(0, 0.99), st.integers(0, 99))
def test_smoothed_labels_are_a_mixture_with_the_uniform_distribution(share: float, seed: int) -> None:
    logits = torch.randn(6, CLASSES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    labels = torch.arange(6)
    target = (1 - share) * F.one_hot(labels, CLASSES) + share / CLASSES
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    smoothed = [name for name, objective in OBJECTIVES.items() if "label_smoothing" in objective.settings]
    assert {"white-box", "black-box", "standard", "mix", "advprop"} <= set(smoothed)
    step = step_of(label_smoothing=share)
    torch.testing.assert_close(step.objective.cross_entropy(logits, labels), expected)
    torch.testing.assert_close(step.objective.cross_entropy(logits, labels),
                               F.cross_entropy(logits, labels, label_smoothing=share))


def test_held_out_images_are_attacked_as_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Towards targets, from the same share of clean starts; attacked images are predicted by the attacked branch."""
    step = step_of("mbn", objective="advprop", target="random", clean_start=1.0, steps=1, batch_size=8)
    step.model.float()
    source = ResidentSource(random_images(16), torch.device("cpu"))
    attacked: list[tuple[Tensor, Tensor]] = []
    original = step.adversarial

    def spy(attack, threat, images, classes, path, uniform):  # type: ignore[no-untyped-def]
        attacked.append((classes, uniform(*images.shape[1:])))
        return original(attack, threat, images, classes, path, uniform)

    branches: list[str] = []
    mixture = next(module for module in step.model.modules() if hasattr(module, "branch"))
    mixture.register_forward_hook(lambda module, *_: branches.append(module.branch))  # type: ignore[arg-type]
    monkeypatch.setattr(step, "adversarial", spy)
    holdout_accuracy(step.model, step, source)
    (everything,) = source.in_order(16)
    assert torch.equal(attacked[0][0], step.targets("held-out", everything))  # type: ignore[arg-type]
    assert bool((attacked[0][1] == 0.5).all())
    assert branches == ["adv", "adv", "clean"]  # the gradient, the attacked images, the natural ones
