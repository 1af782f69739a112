"""A step that is compiled, or recorded and replayed, is the step that runs as it comes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rnabench.data.batches import Batch
from rnabench.jobs.durations import training_flops
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.factory import build_model
from rnabench.runtime.captured import Captured
from rnabench.runtime.rate import work_of
from rnabench.settings.base import from_options
from rnabench.settings.training import TrainingSettings
from rnabench.training.step import TrainingStep
from rnabench.training.update import CapturedUpdate, Update
from tests.simulated_gpu import simulated_gpu

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))

RATE = 0.125  # and its halves are float32 numbers, as which a recorded update holds its rate


def batch(number: int, device: str) -> Batch:
    generator = torch.Generator().manual_seed(number)
    images = torch.rand(8, 3, 16, 16, generator=generator, dtype=torch.float64).to(device)
    labels = torch.randint(10, (8,), generator=generator).to(device)
    return Batch(images, labels, list(range(8 * number, 8 * number + 8)))


def network(space: str, device: str, settings: dict[str, object]) -> RandomizedClassifier:
    model = build_model(**from_options(TrainingSettings, {"space": space, "width": 2, **settings}).network)
    torch.nn.init.normal_(model.network[1].linear.weight, generator=torch.Generator().manual_seed(0))
    return model.double().to(device)


def update_of(kind: str, space: str, device: str, settings: dict[str, object]) -> Update:
    model = network(space, device, settings)
    if kind == "compiled":
        model.network.compile(backend="aot_eager")
        model.tensor_paths = True
    recipe = from_options(TrainingSettings, {"space": space, "width": 2, "steps": 2, "eps": 0.1, "batch_size": 8,
                                              **settings})
    return (CapturedUpdate if kind == "captured" else Update)(TrainingStep(model, recipe, classes=10))


def after(update: Update, device: str, steps: int = 3) -> tuple[list[float], dict[str, Tensor], list[Tensor]]:
    """Losses, weights with running statistics, and momenta after steps of different batches, paths and rates."""
    losses = [float(update(batch(number, device), number // 2, number, RATE / 2**number)[0])
              for number in range(steps)]
    momenta = [value for each in update.state_dict()["state"].values() for value in each.values() if value is not None]
    return losses, {name: value.clone() for name, value in update.model.state_dict().items()}, momenta


CASES: list[tuple[str, dict[str, object]]] = [
    ("bn", {}), ("bn+in", {}), ("bn+in", {"granularity": "sample"}), ("bgn2+gn2+ln", {"track_attack_stats": True}),
    ("bn+in", {"unused_options": "decay", "momentum": 0.5}), ("bn+in-plain", {"eps_warmup": 2}),
    ("bn+in", {"objective": "standard"}), ("robust+mbn", {"attack_mode": "eval"}), ("bn+in", {"momentum": 0.0}),
    ("bn+in", {"activation": "relu+silu", "denoise": "none+gaussian", "smooth_gradient": "both"}),
    ("bn", {"activation": "smoothrelu", "denoise": "none+dot+median", "granularity": "sample"}),
]


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize(("space", "settings"), CASES)
def test_recorded_and_replayed_it_changes_the_network_as_when_run(
        space: str, settings: dict[str, object], device: str) -> None:
    """Paths, starts and rates are inputs; options that are not drawn stand still; the warm-up leaves no trace."""
    plain, replayed = (after(update_of(kind, space, device, settings), device) for kind in ("plain", "captured"))
    torch.testing.assert_close(replayed, plain, rtol=1e-9, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize(("space", "settings"), [CASES[number] for number in (0, 2, 3, 7, 9)])
def test_so_it_does_under_the_rules_of_cuda(space: str, settings: dict[str, object]) -> None:
    with simulated_gpu():
        plain, replayed = (after(update_of(kind, space, "cuda", settings), "cuda") for kind in ("plain", "captured"))
        torch.testing.assert_close(replayed, plain, rtol=1e-9, atol=1e-11)


@pytest.mark.slow
def test_so_it_does_in_bf16() -> None:
    """Whose products, rounded to 8 bits, are in the recording as well."""
    losses = []
    for kind in ("plain", "captured"):
        with simulated_gpu() as gpu:
            update = update_of(kind, "bn+in", "cuda", {})
            update.model.float().precision = "bf16"
            given = [batch(number, "cuda") for number in range(2)]
            losses.append([float(update(Batch(each.images.float(), each.labels, each.indices), 0, number, RATE)[0])
                           for number, each in enumerate(given)])
            recorded = {held.dtype for recording in gpu.recordings for _, held in recording.made}
        assert (torch.bfloat16 in recorded) == (kind == "captured")
    torch.testing.assert_close(*losses, rtol=0.05, atol=0.05)


def test_a_recorded_step_does_not_wait_for_the_device() -> None:
    with simulated_gpu() as gpu:
        update = update_of("captured", "bn+in", "cuda", {})
        given = [batch(number, "cuda") for number in range(5)]
        update(given[0], 0, 0, RATE)
        gpu.waits.clear()
        for number in range(1, 5):
            update(given[number], 0, number, RATE)
    assert gpu.waits == []
    assert len(gpu.recordings) == 1


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("granularity", ["batch", "sample"])
def test_compiled_it_changes_the_network_as_when_run(granularity: str, device: str) -> None:
    settings: dict[str, object] = {"granularity": granularity, "steps": 1}
    plain, compiled = (after(update_of(kind, "bn+in", device, settings), device, 2) for kind in ("plain", "compiled"))
    torch.testing.assert_close(compiled, plain, rtol=1e-9, atol=1e-11)


def test_either_goes_on_from_the_others_state() -> None:
    whole = after(update_of("plain", "bn+in", "cpu", {}), "cpu", 4)
    for first, second in (("plain", "captured"), ("captured", "plain")):
        begun, gone_on = (update_of(kind, "bn+in", "cpu", {}) for kind in (first, second))
        after(begun, "cpu", 2)
        gone_on.model.load_state_dict(begun.model.state_dict())
        gone_on.load_state_dict(begun.state_dict())
        for number in (2, 3):
            gone_on(batch(number, "cpu"), number // 2, number, RATE / 2**number)
        torch.testing.assert_close(dict(gone_on.model.state_dict()), whole[1], rtol=1e-9, atol=1e-11)


def test_another_shape_is_not_replayed() -> None:
    """The last batch of an epoch, say."""
    updates = [update_of(kind, "bn+in", "cpu", {}) for kind in ("plain", "captured")]
    for update in updates:
        update(batch(0, "cpu"), 0, 0, RATE)
        update(batch(1, "cpu").part(0, 5), 0, 1, RATE)
        update(batch(2, "cpu"), 0, 2, RATE)
    plain, captured = (dict(update.model.state_dict()) for update in updates)
    torch.testing.assert_close(captured, plain, rtol=1e-9, atol=1e-11)


def test_what_is_recorded_must_not_change_what_it_does_not_name() -> None:
    """The law that Captured rests on: state is restored after the warm-up, and results are the last call's."""
    counter = torch.zeros(())

    def work(x: Tensor) -> tuple[Tensor]:
        counter.add_(1)
        return (x * counter,)

    captured = Captured(work, [counter], torch.device("cpu"))
    results = [float(captured(torch.tensor([2.0]))[0]) for _ in range(3)]
    assert results == [2.0, 4.0, 6.0]
    assert float(counter) == 3


def test_the_arithmetic_of_a_step_is_that_of_its_forward_passes() -> None:
    """Counted on a step: two forward passes for an attack's gradient, three for the update (but for the first layer's
    products with the image, which the update does not need)."""
    for settings in ({"steps": 3}, {"objective": "standard"}):
        update = update_of("plain", "bn+in", "cpu", settings)
        counted = work_of(lambda update=update: update(batch(0, "cpu"), 0, 0, RATE)).flops  # type: ignore[misc]
        expected = 8 * training_flops(update.model, 16, update.step.recipe)
        assert 0.95 * expected <= counted <= expected
