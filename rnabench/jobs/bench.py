"""Speed on this machine: training step, PGD-20 and EOT, beside a textbook training step, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnabench.attack.estimators import Expectation, OnePath, frozen_parameters
from rnabench.attack.gradient import BIM
from rnabench.attack.threat import Linf
from rnabench.data.batches import Batch
from rnabench.errors import InvalidValue
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.factory import build_model
from rnabench.norm.layers import BatchGroupNorm
from rnabench.runtime.device import find_device, number_formats
from rnabench.runtime.environment import device_description, versions
from rnabench.runtime.progress import Progress
from rnabench.seeding import stream
from rnabench.settings.architectures import ARCHITECTURES
from rnabench.settings.training import TrainingSettings
from rnabench.training.step import TrainingStep
from rnabench.training.update import Update

EOT_SAMPLES = 4
PGD_STEPS = 20
Case = Callable[[], object]


def measure(recipe: TrainingSettings, repeats: int, device_name: str, progress: Progress) -> dict[str, Any]:
    """Seconds and images/s of every case: the fastest of `repeats` rounds, each of which runs every case once.

    Ratios are of times within this one run. Raises InvalidValue for `repeats` below 1.
    """
    if repeats < 1:
        raise InvalidValue("--repeats", repeats, "at least 1")
    device = find_device(device_name)
    with number_formats(recipe.precision, device):
        return _measured(recipe, repeats, device, progress)


def _measured(recipe: TrainingSettings, repeats: int, device: torch.device, progress: Progress) -> dict[str, Any]:
    cases = _cases(recipe, device)
    fastest = dict.fromkeys(cases, float("inf"))
    for case in cases.values():
        case()  # warm-up: memory, kernels' own choices
    for round_number in range(repeats):
        for name, case in cases.items():
            _wait(device)
            started = time.perf_counter()
            case()
            _wait(device)
            fastest[name] = min(fastest[name], time.perf_counter() - started)
        progress.line(f"round {round_number + 1} of {repeats} done")
    width = recipe.width or ARCHITECTURES[recipe.arch].width
    return {
        "title": f"{recipe.arch}, width {width}, batch {recipe.batch_size}, PGD-{recipe.steps} training, "
                 f"{recipe.precision}{', compiled' if recipe.compile else ''}, on {_in_words(device)}",
        "device": device_description(str(device), recipe.precision), "versions": versions(),
        "recipe": recipe.model_dump(mode="json"), "repeats": repeats,
        "cases": [{"case": name, "seconds": seconds, "images_per_second": recipe.batch_size / seconds}
                  for name, seconds in fastest.items()],
    }


def _cases(recipe: TrainingSettings, device: torch.device) -> dict[str, Case]:
    size = ARCHITECTURES[recipe.arch].image_size
    generator = stream(recipe.seed, "bench")
    pixels = torch.rand(recipe.batch_size, size, size, 3, generator=generator).to(device)
    batch = Batch(pixels.permute(0, 3, 1, 2), torch.randint(10, (recipe.batch_size,), generator=generator).to(device),
                  list(range(recipe.batch_size)))
    plain = recipe.model_copy(update={"space": "bn"})
    cases: dict[str, Case] = {"textbook step, bn": _textbook_step(plain, batch, device)}
    cases["training step, bn"] = _step(plain, batch, device)
    for granularity in ("batch", "sample"):
        ours = recipe.model_copy(update={"granularity": granularity})
        cases[f"training step, {recipe.space}, path per {granularity}"] = _step(ours, batch, device)
    model = _model(recipe, device).eval()
    attack = BIM(steps=PGD_STEPS, step_size=recipe.step)
    path = model.space.sample(generator)

    def pgd() -> object:
        with frozen_parameters(model):
            return attack.run(OnePath(model, path), batch.images, batch.labels, _no_noise, Linf(recipe.eps))

    def eot(rows: int) -> Case:
        def draw(count: int) -> Any:
            return model.space.sample(generator, rows * count if rows > 1 else 1)

        def run() -> object:
            with frozen_parameters(model):
                return Expectation(model, draw, EOT_SAMPLES).gradient(batch.images, batch.labels)

        return run

    cases[f"PGD-{PGD_STEPS}, {recipe.space}"] = pgd
    cases[f"one EOT gradient of {EOT_SAMPLES} paths, path per batch"] = eot(1)
    cases[f"one EOT gradient of {EOT_SAMPLES} paths, path per sample"] = eot(recipe.batch_size)
    return cases


def _no_noise(*shape: int) -> Tensor:
    raise AssertionError("an attack without a random start asks for no noise")


def _model(recipe: TrainingSettings, device: torch.device) -> RandomizedClassifier:
    model = build_model(recipe.arch, recipe.space, 10, recipe.width, granularity=recipe.granularity, seed=recipe.seed)
    model.precision = recipe.precision
    if recipe.compile:
        model.compile_network()
    return model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _step(recipe: TrainingSettings, batch: Batch, device: torch.device) -> Case:
    """One step of `rnabench train`."""
    model = _model(recipe, device)
    update = Update(TrainingStep(model, recipe))
    return lambda: update(batch, 0, 0, recipe.lr)


def _textbook_step(recipe: TrainingSettings, batch: Batch, device: torch.device) -> Case:
    """Madry-style training as tutorials write it: torch's own layers and memory format, and at every step of the
    attack a `loss.backward()` that also computes all parameter gradients."""
    model = textbook_network(recipe).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.lr, momentum=recipe.momentum)
    images, labels = batch.images.contiguous(), batch.labels
    noise = stream(recipe.seed, "textbook start", device=device)

    def loss_of(candidate: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            return F.cross_entropy(model(candidate), labels)

    def run() -> None:
        candidate = (images + torch.empty_like(images).uniform_(-recipe.eps, recipe.eps, generator=noise)).clamp(0, 1)
        for _ in range(recipe.steps):
            candidate.requires_grad_()
            loss_of(candidate).backward()  # type: ignore[no-untyped-call]
            assert candidate.grad is not None
            moved = candidate.detach() + recipe.step * candidate.grad.sign()
            candidate = torch.min(torch.max(moved, images - recipe.eps), images + recipe.eps).clamp(0, 1)
        optimizer.zero_grad()
        loss_of(candidate).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return run


def textbook_network(recipe: TrainingSettings) -> nn.Module:
    """The plain-BN network of the recipe with torch's own nn.BatchNorm2d layers."""
    model = build_model(recipe.arch, "bn", 10, recipe.width, seed=recipe.seed).network
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, BatchGroupNorm):
                setattr(module, name, nn.BatchNorm2d(child.channels))
    return model


def _in_words(device: torch.device) -> str:
    described = device_description(str(device))
    return f"{described['name']}" + (f", {described['threads']} threads" if "threads" in described else "")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
