"""Speed on this machine: training steps and attacks, beside a textbook training step and a matrix product."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnabench.attack.apgd import APGD
from rnabench.attack.attack import Attack
from rnabench.attack.estimators import Expectation, OnePath, frozen_parameters
from rnabench.attack.gradient import BIM
from rnabench.attack.threat import Linf
from rnabench.data.batches import Batch
from rnabench.errors import InvalidValue, NumericalError, one_of
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.factory import build_model
from rnabench.model.recorded import recorded_passes
from rnabench.norm.layers import BatchGroupNorm
from rnabench.path.path import Path
from rnabench.report.bench import FIRST
from rnabench.runtime.device import check_precision, find_device, memory_ran_out, number_formats
from rnabench.runtime.environment import device_description, versions
from rnabench.runtime.progress import Progress
from rnabench.runtime.rate import matrix_rate, seconds, work_of
from rnabench.seeding import stream
from rnabench.settings.architectures import ARCHITECTURES, operators_of
from rnabench.settings.base import Precision
from rnabench.settings.parts import with_parts
from rnabench.settings.training import TrainingSettings
from rnabench.training.compiled import check_compiled
from rnabench.training.step import TrainingStep
from rnabench.training.update import CapturedUpdate, Update

EOT_SAMPLES, PGD_STEPS, APGD_STEPS = 20, 20, 10
TOLD_SECONDS = 10.0  # a first run that takes longer, to compile, is told of
FORMATS = get_args(get_args(Precision)[0])


@dataclass(frozen=True)
class Case:
    """A piece of work with so many gradients; `plain`, where `run` is recorded, does the same as it comes."""

    name: str
    gradients: int
    run: Callable[[], object]
    plain: Callable[[], object] | None = None


def measure(recipe: TrainingSettings, repeats: int, device_name: str, progress: Progress,
            formats: Sequence[str] = (), parts: Sequence[str] = ()) -> dict[str, Any]:
    """Seconds of every case in every one of `formats` (the recipe's precision, if there are none), in `repeats` rounds
    that run every case once; what it computes, and the rate of a matrix product beside it. With `parts`, of cases that
    have one of these texts in their names, and of the two that ratios refer to.

    Ratios are of times within this one run. A case that cannot be recorded, or not rightly, has a reason in the place
    of its numbers, under `refused`. Raises InvalidValue for `repeats` below 1, a format or part that is not there and
    an architecture without normalisation layers, and NumericalError for a network that cannot be compiled rightly.
    """
    if not ARCHITECTURES[recipe.arch].normalised:
        raise InvalidValue("--arch", recipe.arch, "a network with normalisation layers, which are what is compared")
    if repeats < 1:
        raise InvalidValue("--repeats", repeats, "at least 1")
    device = find_device(device_name)
    for precision in formats:
        if precision not in FORMATS:
            raise InvalidValue("--formats", precision, one_of(FORMATS), FORMATS)
        check_precision(precision, device)
    names = [case.name for case in _cases(recipe, device)]
    parts = [part.strip() for part in parts]
    for part in parts:
        if not any(part in name for name in names):
            raise InvalidValue("--cases", part, f"a part of the name of one: {'; '.join(names)}")
    chosen = {name for name in names if name in FIRST or not parts or any(part in name for part in parts)}
    measured: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    for precision in dict.fromkeys(formats or (recipe.precision,)):
        measured += _measured(recipe.model_copy(update={"precision": precision}), chosen, repeats, device, progress,
                              refused)
    width = recipe.width or ARCHITECTURES[recipe.arch].width
    network = with_parts(f"{recipe.arch}, width {width}", recipe.network)
    return {
        "title": f"{network}, batch {recipe.batch_size}, PGD-{recipe.steps} training"
                 f"{', compiled' if recipe.compile else ''}, on {_in_words(device)}",
        "device": device_description(str(device), recipe.precision), "versions": versions(),
        "recipe": recipe.model_dump(mode="json"), "repeats": repeats, "cases": measured,
        "refused": refused,
    }


def _measured(recipe: TrainingSettings, chosen: Collection[str], repeats: int, device: torch.device,
              progress: Progress, refused: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    rate = matrix_rate(device, recipe.precision)
    with number_formats(recipe.precision, device):
        cases, counted, memory = [], [], []
        wanted = list(_cases(recipe, device))
        uncompiled = list(_cases(recipe.model_copy(update={"compile": False}), device)) if recipe.compile else wanted
        for case, plain in zip(wanted, uncompiled, strict=True):
            if case.name not in chosen:
                continue
            started = time.monotonic()
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
                before = torch.cuda.memory_allocated(device)
            try:
                case.run()  # warm-up: memory, kernels' own choices, compiling, recording
            except (NumericalError, RuntimeError) as error:
                if case.plain is None or not (isinstance(error, NumericalError) or memory_ran_out(error)):
                    raise
                refused.append({"case": case.name, "precision": recipe.precision, "why": str(error).splitlines()[0]})
                progress.line(f"{recipe.precision}: {case.name}: {refused[-1]['why']}")
                continue
            if (took := time.monotonic() - started) > TOLD_SECONDS:
                progress.line(f"{recipe.precision}: {case.name}: the first run took {took:.0f} s")
            cases.append(case)
            memory.append(torch.cuda.max_memory_allocated(device) - before if device.type == "cuda" else None)
            counted.append(work_of(plain.plain or plain.run))
        times: list[list[float]] = [[] for _ in cases]
        for number in range(repeats):
            for case, own in zip(cases, times, strict=True):
                own.append(seconds(case.run, device))
            progress.line(f"{recipe.precision}: round {number + 1} of {repeats} done")
    for case, own, work, peak in zip(cases, times, counted, memory, strict=True):
        yield {"case": case.name, "precision": recipe.precision, "seconds": sorted(own), "images": recipe.batch_size,
               "gradients": case.gradients, "flops": work.flops, "launches": work.launches, "matrix_rate": rate,
               "peak_bytes": peak}


def _cases(recipe: TrainingSettings, device: torch.device) -> Iterator[Case]:
    size = ARCHITECTURES[recipe.arch].image_size
    generator = stream(recipe.seed, "bench")
    pixels = torch.rand(recipe.batch_size, size, size, 3, generator=generator).to(device)
    batch = Batch(pixels.permute(0, 3, 1, 2), torch.randint(10, (recipe.batch_size,), generator=generator).to(device),
                  list(range(recipe.batch_size)))
    yield Case("textbook step, bn", recipe.steps + 1, _textbook_step(recipe, batch, device))
    own, single = operators_of(recipe.arch, recipe.operators), _single_operator(recipe)
    for space, granularity, operators in (
            ("bn", "batch", single), ("in", "batch", single), (recipe.space, "batch", own),
            (recipe.space, "sample", own), ("gn[1-64]", "sample", single)):
        ours = recipe.model_copy(update={"space": space, "granularity": granularity, "operators": operators})
        path = f", path per {granularity}" if ours.options > 1 else ""
        name = f"training step, {space}{f', {operators} operators' if operators != single else ''}{path}"
        plain = _made_once(partial(_step, ours, batch, device))
        yield Case(name, recipe.steps + 1, plain)
        if device.type == "cuda":
            yield Case(f"{name}, captured", recipe.steps + 1,
                       _made_once(partial(_step, ours, batch, device, captured=True)), plain)
    yield from _attacks(recipe, batch, device, generator)


def _made_once(make: Callable[[], Callable[[], object]]) -> Callable[[], object]:
    """What `make` returns, made when it is first run: networks of cases that are not chosen are not compiled."""
    made = cache(make)
    return lambda: made()()


def _attacks(recipe: TrainingSettings, batch: Batch, device: torch.device, generator: torch.Generator
             ) -> Iterator[Case]:
    model = _model(recipe, device).eval()
    one = model.space.sample(generator)
    pgd, apgd = BIM(steps=PGD_STEPS, step_size=recipe.step), APGD(steps=APGD_STEPS)

    def middle(*shape: int) -> Tensor:
        return torch.full((len(batch.labels), *shape), 0.5, device=device)

    def attacked(attack: Attack) -> object:
        with frozen_parameters(model):
            return attack.run(OnePath(model, one), batch.images, batch.labels, middle, Linf(recipe.eps))

    def averaged(rows: int) -> object:
        def draw(count: int) -> Path:
            return model.space.sample(generator, rows * count if rows > 1 else 1)

        with frozen_parameters(model):
            return Expectation(model, draw, EOT_SAMPLES).gradient(batch.images, batch.labels)

    many = f"gradient over {EOT_SAMPLES} paths, path per"
    for case in (Case(f"PGD-{PGD_STEPS}, {recipe.space}", PGD_STEPS, partial(attacked, pgd)),
                 Case(f"APGD-{APGD_STEPS}, {recipe.space}", APGD_STEPS + 1, partial(attacked, apgd)),
                 Case(f"{many} batch", EOT_SAMPLES, partial(averaged, 1)),
                 Case(f"{many} sample", EOT_SAMPLES, partial(averaged, recipe.batch_size))):
        yield case
        if device.type == "cuda":
            yield Case(f"{case.name}, captured", case.gradients, _recorded(model, case.run), case.run)


def _recorded(model: RandomizedClassifier, run: Callable[[], object]) -> Callable[[], object]:
    """The same with passes that are recorded in the first call, and replayed in each one after."""
    with recorded_passes(model):
        passes = model.recorded

    def recorded() -> object:
        model.recorded = passes
        try:
            return run()
        finally:
            model.recorded = None

    return recorded


def _model(recipe: TrainingSettings, device: torch.device) -> RandomizedClassifier:
    model = build_model(**recipe.network, granularity=recipe.granularity, seed=recipe.seed)
    model.precision = recipe.precision
    if recipe.compile:
        model.compile_network()
    return model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _step(recipe: TrainingSettings, batch: Batch, device: torch.device, captured: bool = False
          ) -> Callable[[], object]:
    """One step of `rnabench train`, which checks what it compiles as that does."""
    model = _model(recipe, device)
    if recipe.compile:
        check_compiled(model, recipe.batch_size, ARCHITECTURES[recipe.arch].image_size)
    update = (CapturedUpdate if captured else Update)(TrainingStep(model, recipe))
    return lambda: update(batch, 0, 0, recipe.lr)


def _textbook_step(recipe: TrainingSettings, batch: Batch, device: torch.device) -> Callable[[], object]:
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
    """The plain-BN network of the recipe with torch's own nn.BatchNorm2d layers; of a super-network, with one operator
    a layer."""
    model = build_model(recipe.arch, "bn", 10, recipe.width, operators=_single_operator(recipe), seed=recipe.seed
                        ).network
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, BatchGroupNorm):
                setattr(module, name, nn.BatchNorm2d(child.channels))
    return model


def _single_operator(recipe: TrainingSettings) -> int | None:
    """The setting `operators` of a network like the recipe's that is no super-network."""
    return None if operators_of(recipe.arch, None) is None else 1


def _in_words(device: torch.device) -> str:
    described = device_description(str(device))
    return f"{described['name']}" + (f", {described['threads']} threads" if "threads" in described else "")
