"""SORS: two different paths in a step, whose input gradients are made orthogonal, with a teacher or without."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from rnabench.data.batches import Batch
from rnabench.errors import InvalidValue
from rnabench.jobs.durations import training_flops, training_passes
from rnabench.jobs.train import train
from rnabench.model.factory import build_model
from rnabench.path.choice import choice_layers
from rnabench.path.path import Path as Route
from rnabench.runtime.files import sha256
from rnabench.runtime.progress import Silent
from rnabench.runtime.rate import work_of
from rnabench.runtime.stopping import Stopped, StopRequest
from rnabench.settings.base import from_options
from rnabench.settings.training import TrainingSettings
from rnabench.training.sors import input_gradient, mean_cross_entropy, squared_cosine
from rnabench.training.step import Drawn, TrainingStep
from tests.helpers import AfterSteps, lively_model
from tests.training.test_update import CUDA, RATE, after, batch, network, update_of

SORS = {"objective": "sors", "width": 2}


def step_of(space: str, **settings: object) -> TrainingStep:
    """Of a small network in float64 whose paths differ, in training mode."""
    recipe = from_options(TrainingSettings, {"space": space, **SORS, **settings})
    return TrainingStep(lively_model(space, layers=3).double().train(), recipe)


def loss_of(step: TrainingStep, drawn: Drawn, images: Tensor, labels: Tensor) -> Tensor:
    return step.loss(images, labels, drawn, *step.attack())[0]


def tiny(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(4, 3, 8, 8, generator=generator, dtype=torch.float64),
            torch.randint(10, (4,), generator=generator))


@given(st.integers(0, 99), st.floats(1e-6, 1e6), st.floats(-1e3, 1e3).filter(lambda value: abs(value) > 1e-3))
def test_the_squared_cosine_knows_directions_alone(seed: int, scale: float, other: float) -> None:
    first, second = torch.randn(2, 5, 3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = squared_cosine(first, second)
    assert bool(((found >= 0) & (found <= 1)).all())
    torch.testing.assert_close(squared_cosine(scale * first, other * second), found, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(squared_cosine(first, other * first), torch.ones(5, dtype=torch.float64))


def test_a_gradient_that_vanishes_is_orthogonal_and_its_slope_finite() -> None:
    zero = torch.zeros(2, 3, 4, 4, requires_grad=True)
    found = squared_cosine(zero, torch.rand(2, 3, 4, 4))
    assert torch.equal(found, torch.zeros(2))
    assert bool(torch.autograd.grad(found.sum(), zero)[0].isfinite().all())


def test_the_loss_is_its_formula_image_by_image() -> None:
    """Eq. 4 to 6 from single images (for norms of a sample, images are independent), over two sub-networks."""
    step, (images, labels) = step_of("gn2+ln", orthogonality=7), tiny()
    drawn = Drawn(Route.of(0, 1, 0), others=(Route.of(1, 1, 0),))
    entropies, cosines = [], []
    for image, label in zip(images, labels, strict=True):
        slopes = []
        for path in drawn.all_trained:
            leaf = image[None].clone().requires_grad_()
            entropy = -step.model.on(path)(leaf)[0].float().log_softmax(0)[label]
            entropies.append(entropy)
            slopes.append(torch.autograd.grad(entropy, leaf, retain_graph=True)[0].flatten())
        cosines.append((slopes[0] @ slopes[1]) ** 2 / (slopes[0].square().sum() * slopes[1].square().sum()))
    pairs = 2 * torch.stack(cosines).mean()  # (i, j) and (j, i)
    expected = (torch.stack(entropies).view(4, 2).mean(0).sum() + 7 * pairs) / 2
    torch.testing.assert_close(loss_of(step, drawn, images, labels), expected, rtol=1e-5, atol=1e-6, check_dtype=False)


@pytest.mark.parametrize("granularity", ["batch", "sample"])
@pytest.mark.parametrize("space", ["gn2+ln", "bn+in", "bgn2+gn4+robust", "in+ln+bn"])
def test_its_gradient_is_that_of_finite_differences(space: str, granularity: str, monkeypatch: pytest.MonkeyPatch
                                                    ) -> None:
    """Through the backward passes of all norms and of choices among them."""
    monkeypatch.setattr(Tensor, "float", lambda self: self)  # logits stay float64
    step, (images, labels) = step_of(space, granularity=granularity), tiny()
    drawn = step.draw(Batch(images, labels, list(range(4))), 0, 0)
    parameters = list(step.model.parameters())
    slopes = torch.autograd.grad(loss_of(step, drawn, images, labels), parameters, allow_unused=True)
    generator = torch.Generator().manual_seed(1)
    directions = [torch.randn(each.shape, generator=generator, dtype=torch.float64) for each in parameters]
    expected = sum(float((slope * direction).sum())
                   for slope, direction in zip(slopes, directions, strict=True) if slope is not None)
    around, reach = [], 1e-6
    for sign in (1, -1):
        with torch.no_grad():
            torch._foreach_add_(parameters, directions, alpha=sign * reach)
        around.append(float(loss_of(step, drawn, images, labels).detach()))
        with torch.no_grad():
            torch._foreach_add_(parameters, directions, alpha=-sign * reach)
    assert (around[0] - around[1]) / (2 * reach) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_without_orthogonality_and_teacher_it_is_two_standard_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of their losses, and of their gradients."""
    step, (images, labels) = step_of("gn2+ln", orthogonality=0), tiny()
    first, second = Route.of(0, 1, 0), Route.of(1, 1, 0)
    standard = TrainingStep(step.model, step.recipe.model_copy(update={"objective": "standard"}))
    parameters = list(step.model.parameters())
    each = [loss_of(standard, Drawn(path), images, labels) for path in (first, second)]
    expected = torch.autograd.grad(sum(each, torch.zeros(())) / 2, parameters, allow_unused=True)
    monkeypatch.setattr("rnabench.training.sors.input_gradient", None)  # is not asked for
    loss = loss_of(step, Drawn(first, others=(second,)), images, labels)
    torch.testing.assert_close(loss, sum(each, torch.zeros(())) / 2)
    torch.testing.assert_close(torch.autograd.grad(loss, parameters, allow_unused=True), expected)


@given(st.integers(0, 99))
def test_a_teacher_of_the_same_mind_teaches_nothing(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    own, other = torch.randn(2, 6, 10, generator=generator, dtype=torch.float64)
    own.requires_grad_()
    for teacher, learns in ((own.detach(), False), (other, True)):
        loss = mean_cross_entropy([own, own], teacher.softmax(1))
        slope = torch.autograd.grad(loss, own)[0]
        assert (float(slope.abs().max()) > 1e-12) is learns
        assert float(loss.detach()) >= float(torch.distributions.Categorical(logits=teacher).entropy().mean()) - 1e-12


def test_the_teachers_part_is_added_on_every_path_and_leaves_the_teacher_alone() -> None:
    alone, (images, labels) = step_of("gn2+ln"), tiny()
    teacher = lively_model("ln", layers=3, seed=5).double()
    recipe = alone.recipe.model_copy(update={"teacher": from_options(TrainingSettings, {"space": "ln"})})
    drawn = Drawn(Route.of(0, 1, 0), others=(Route.of(1, 1, 0),))
    with pytest.raises(ValueError, match="teacher"):
        loss_of(TrainingStep(alone.model, recipe), drawn, images, labels)
    loss = loss_of(TrainingStep(alone.model, recipe, teacher), drawn, images, labels)
    soft = [F.cross_entropy(alone.model.on(path)(images), teacher(images).softmax(1)) for path in drawn.all_trained]
    torch.testing.assert_close(loss - loss_of(alone, drawn, images, labels), torch.stack(soft).mean(),
                               rtol=1e-5, atol=1e-5, check_dtype=False)
    loss.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())


@pytest.mark.parametrize("granularity", ["batch", "sample"])
def test_the_first_path_is_a_standard_steps_and_the_second_another(granularity: str) -> None:
    drawn = []
    for objective in ("sors", "sors", "standard"):
        step = TrainingStep(network("bn+in", "cpu", {}), from_options(
            TrainingSettings, {"objective": objective, "width": 2, "granularity": granularity}))
        drawn.append([step.draw(batch(number, "cpu"), epoch, number) for epoch in (0, 1) for number in (0, 1, 2)])
    assert drawn[0] == drawn[1]
    for ours, plain in zip(drawn[0], drawn[2], strict=True):
        assert (ours.trained, plain.others) == (plain.trained, ())
        assert all(ours.others[0].difference(ours.trained))
    assert len({each.others for each in drawn[0]}) == 6


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize(("space", "settings"), [
    ("bn+in", {}), ("gn2+ln", {"granularity": "sample"}), ("in+ln+bn", {"unused_options": "decay"}),
    ("bn+in", {"orthogonality": 0})])
def test_recorded_and_replayed_it_changes_the_network_as_when_run(space: str, settings: dict[str, object], device: str
                                                                  ) -> None:
    plain, replayed = (after(update_of(kind, space, device, SORS | settings), device) for kind in ("plain", "captured"))
    # the logits are float32: where the last bit falls otherwise, so does everything after it
    torch.testing.assert_close(replayed, plain, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["plain", "captured"])
def test_an_option_stands_still_if_neither_path_takes_it(kind: str) -> None:
    update = update_of(kind, "in+ln+gn2+bn", "cpu", SORS)
    layers = choice_layers(update.model)
    before = {name: value.clone() for name, value in update.model.named_parameters()}
    update(batch(0, "cpu"), 0, 0, RATE)
    taken = update.step.draw(batch(0, "cpu"), 0, 0).all_trained
    for place, name in enumerate(layers):
        for number in range(4):
            moved = any(not torch.equal(value, before[key]) for key, value in update.model.named_parameters()
                        if key.startswith(f"{name}.options.{number}."))
            assert moved is any(path.rows[0][place] == number for path in taken), (name, number)


def test_the_arithmetic_of_a_step_is_counted_and_forecast() -> None:
    """Six forward passes on each path: one forward, one for the images' gradient, four for the gradients of both."""
    for settings in ({}, {"orthogonality": 0}):
        update = update_of("plain", "gn2+ln", "cpu", SORS | settings)
        counted = work_of(lambda update=update: update(batch(0, "cpu"), 0, 0, RATE)).flops  # type: ignore[misc]
        expected = 8 * training_flops(update.model, 16, update.step.recipe)
        assert counted == pytest.approx(expected, rel=0.05)
    taught = update.step.recipe.model_copy(update={"teacher": update.step.recipe})
    more = training_flops(update.model, 16, taught, update.model) / training_flops(update.model, 16, taught)
    assert more == pytest.approx(training_passes(taught, 8, 1) / training_passes(update.step.recipe, 8, 1)) == 7 / 6


def test_what_it_cannot_train() -> None:
    model = build_model("resnet18", "gn2", width=2)
    with pytest.raises(InvalidValue, match="--objective: 'sors'"):
        step_of("gn2+ln").objective.check(step_of("gn2+ln").recipe, model.space)
    compiled = step_of("gn2+ln", compile=True)
    with pytest.raises(InvalidValue, match=r"--compile: True .* twice"):
        compiled.objective.check(compiled.recipe, compiled.model.space)
    free = step_of("gn2+ln", compile=True, orthogonality=0)
    free.objective.check(free.recipe, free.model.space)


def test_bf16_trains() -> None:
    model = build_model("resnet18", "gn2+ln", width=2)
    model.precision = "bf16"
    images, labels = torch.rand(8, 3, 16, 16), torch.arange(8)
    recipe = from_options(TrainingSettings, {"space": "gn2+ln", **SORS})
    loss, _ = TrainingStep(model, recipe)(Batch(images, labels, list(range(8))), 0, 0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.dtype == torch.float32
    assert all(bool(each.grad.isfinite().all()) for each in model.parameters() if each.grad is not None)


def test_stopped_after_any_step_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    recipe = from_options(TrainingSettings, {"space": "bn+in", **SORS, "lr": 0.01, "epochs": 2, "steps": 1,
                                              "batch_size": 32, "n_train": 64, "n_holdout": 16, "dataset": "digits16"})
    found, stops = [], 0
    for name, stop in (("whole", None), ("parts", 1)):
        while True:
            try:
                train(recipe, tmp_path / name, Silent(), AfterSteps(1) if stop else StopRequest(), "cpu")
                break
            except Stopped:
                stops += 1
        log = [list(row.values())[:-1] for row in csv.DictReader((tmp_path / name / "log.csv").open())]
        found.append((sha256(tmp_path / name / "model.safetensors"), log))
    assert stops >= 2
    assert found[0] == found[1]


def test_the_images_gradient_is_of_the_sum_and_does_not_shrink_with_the_batch() -> None:
    step, (images, labels) = step_of("gn2+ln"), tiny()
    view = step.model.on(Route.of(0, 1, 0))
    parts = []
    for part in (slice(0, 4), slice(0, 2), slice(2, 4)):
        leaf = images[part].clone().requires_grad_()
        parts.append(input_gradient(view(leaf), labels[part], leaf))
    torch.testing.assert_close(torch.cat(parts[1:]), parts[0])
