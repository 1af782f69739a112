"""One attack under one protocol on one batch: adversarial images, and the path that the attacker knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnabench.attack.attack import Uniform
from rnabench.attack.autoattack import autoattack, version
from rnabench.attack.build import build
from rnabench.attack.catalogue import AttackSpec, resolved
from rnabench.attack.estimators import Estimator, Expectation, OnePath
from rnabench.attack.library import Resampled, frozen_view
from rnabench.attack.torchattacks import library_call, torchattacks_attack
from rnabench.data.batches import Batch
from rnabench.errors import InvalidValue, NumericalError
from rnabench.evaluation.defence import Defence
from rnabench.evaluation.interval import Groups
from rnabench.evaluation.protocol import Protocol
from rnabench.path.path import Path
from rnabench.pixels import PIXEL_UNITS
from rnabench.plan import EvaluationKeys
from rnabench.seeding import ExampleStreams, derive, stream


def parameters(spec: AttackSpec, keys: EvaluationKeys, samples: int) -> dict[str, Any]:
    """Every parameter in effect. Raises InvalidValue for what the norm does not have."""
    values = resolved(spec, keys.eps, keys.step)
    for name in ("eps", "step_size"):
        if keys.norm == "Linf" and values.get(name, 0) > 1:
            raise InvalidValue("attack", f"{spec.name} ({name}: {values[name]:g})", PIXEL_UNITS)
    if not uses_library(spec, keys):
        build(spec.name, keys.norm, values)
    elif keys.backend == "native":
        return values | version(samples) | {"backend": "pyautoattack"}
    return values | {"backend": keys.backend}


@dataclass
class Attacker:
    """Streams are named by (seed, purpose), and by example or path group, never by an attack: attacks that are compared
    meet the same frozen paths, averaged paths and starts. `most_pixels` as in Expectation."""

    defence: Defence
    keys: EvaluationKeys
    classes: int
    most_pixels: int | None = None

    def __call__(self, spec: AttackSpec, protocol: Protocol, batch: Batch, groups: Groups) -> tuple[Tensor, Path]:
        """Adversarial images of a batch whose images are in these path `groups`, and a path that the attacker knows:
        its frozen one, or one more draw (one row, or one for each image).

        Raises NumericalError for images that leave [0, 1] or the ball.
        """
        draw = self.drawer("attack path", batch, groups)
        averaged = protocol.samples if self.defence.space.is_random else 0
        if averaged:
            estimator = Expectation(self.defence, draw, averaged, self.most_pixels)
            found = self._run(spec, estimator, batch, groups, averaged)
            path = self.drawer("reported path", batch, groups)(1)
        else:
            path = draw(1)
            found = self._run(spec, OnePath(self.defence, path), batch, groups, 0)
        self._check(spec, found, batch.images)
        return found, path

    def drawer(self, purpose: str, batch: Batch, groups: Groups) -> Callable[[int], Path]:
        """Draws of paths, one after the other: a row for each image, or one row if one draw serves them all."""
        space = self.defence.space
        if not space.is_random:
            only = space.sample(torch.Generator())
            return lambda repeats: only
        names = batch.indices if self.keys.granularity == "sample" else groups.tolist()
        if len(set(names)) == 1:
            together = ExampleStreams(self.keys.seed, purpose, indices=names[:1])
            return lambda repeats: space.sample_each(together)
        streams = ExampleStreams(self.keys.seed, purpose, indices=names)
        return lambda repeats: space.sample_each(streams, repeats)

    def _run(self, spec: AttackSpec, estimator: Estimator, batch: Batch, groups: Groups, samples: int) -> Tensor:
        values, images, labels = parameters(spec, self.keys, samples), batch.images, batch.labels
        if values["backend"] == "native":
            return build(spec.name, self.keys.norm, values)(estimator, images, labels, self._uniform(batch))
        # a library draws for the images that it is given together: its streams are named by the first of them
        names = "library", batch.indices[0]
        seed, generator = derive(self.keys.seed, *names), stream(self.keys.seed, *names, "paths")
        rows = self.keys.granularity == "sample"
        view = frozen_view(estimator, images.device) if isinstance(estimator, OnePath) else Resampled(
            self.defence, lambda count: self.defence.space.sample(generator, count if rows else 1))
        if values["backend"] == "pyautoattack":
            return autoattack(view, images, labels, self.keys.norm, values["eps"], self.classes, seed, samples)
        return torchattacks_attack(spec.name, view, images, labels, self.keys.norm, self.classes, values, seed, samples)

    def _uniform(self, batch: Batch) -> Uniform:
        streams = ExampleStreams(self.keys.seed, "attack start", indices=batch.indices, device=batch.images.device)
        return lambda *shape: streams.uniform(*shape).to(batch.images)

    def _check(self, spec: AttackSpec, found: Tensor, images: Tensor) -> None:
        if not bool(found.isfinite().all()) or float(found.min()) < 0 or float(found.max()) > 1:
            raise NumericalError(f"attack {spec.name}: its images are not in [0, 1]; nothing was scored")
        if spec.bounded:
            change, eps = (found - images).flatten(1), self.keys.eps if spec.eps is None else spec.eps
            far = float(change.abs().max() if self.keys.norm == "Linf" else change.norm(dim=1).max())
            if far > eps * (1 + 1e-4) + 1e-6:
                raise NumericalError(f"attack {spec.name}: moved an image by {far:.6g} ({self.keys.norm}); expected at "
                                     f"most eps {eps:.6g}; nothing was scored")


def uses_library(spec: AttackSpec, keys: EvaluationKeys) -> bool:
    """Whether somebody else's code attacks, which knows one path for all images that it is given."""
    return keys.backend != "native" or spec.kind == "autoattack"


def check_plan(keys: EvaluationKeys, specs: list[tuple[AttackSpec, int]], is_random: bool, classes: int) -> None:
    """Fail before the first attack, not in the middle. Raises InvalidValue."""
    for spec, samples in specs:
        values = parameters(spec, keys, samples)
        rows = is_random and keys.granularity == "sample"
        if rows and not samples and values["backend"] != "native":
            raise InvalidValue("granularity", "sample", f"batch for {spec.name} on a frozen path (libraries attack "
                                                        "some images of a batch at a time, and mix up their paths)")
        needed = {"t": 4, "dlr": 3}.get(values.get("loss", ""), 4 if spec.kind == "autoattack" else 2)
        if classes < needed:
            raise InvalidValue("attack", spec.name, f"another one for {classes} classes: its DLR loss needs {needed}")
        if keys.backend == "torchattacks":
            library_call(spec.name, keys.norm, classes, values, samples if is_random else 0)
    if keys.cumulative and is_random:
        raise InvalidValue("cumulative", True, "a deterministic model: a mean over draws needs every example attacked")


def memory_ran_out(error: BaseException) -> bool:
    """Whether this is a device's, or the CPU allocator's, way to say that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and any(
        sign in str(error) for sign in ("can't allocate memory", "STATUS_ALLOC_FAILED")))
