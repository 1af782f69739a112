"""An attacker: whose path is attacked, or whose paths are averaged over, and by whose code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnabench.attack.attack import Attack, LibraryAttack, Uniform, check, ready
from rnabench.attack.estimators import Estimator, Expectation, OnePath, OnPass, Watched, nobody, rows_pay
from rnabench.attack.libraries import Resampled, by_torchattacks, frozen_view, torchattacks_call
from rnabench.attack.resumable import remember
from rnabench.attack.threat import Threat
from rnabench.attack.whole_batch import InBatches, WholeBatch
from rnabench.data.batches import Batch
from rnabench.defence.defence import Defence, batch_dependent
from rnabench.errors import InvalidValue
from rnabench.path.path import Path
from rnabench.scoring.interval import Groups
from rnabench.scoring.outcome import batch_groups, path_groups
from rnabench.seeding import ExampleStreams, derive, stream
from rnabench.settings.attacks import AttackSpec, resolved
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.pixels import PIXEL_UNITS
from rnabench.settings.protocols import Protocol


def parameters(spec: AttackSpec, keys: EvaluationSettings, samples: int) -> dict[str, Any]:
    """Every parameter in effect. Raises InvalidValue for what the norm does not have."""
    values = resolved(spec, keys.eps, keys.step)
    for name in ("eps", "step_size"):
        if keys.norm == "Linf" and values.get(name, 0) > 1:
            raise InvalidValue("attack", f"{spec.name} ({name}: {values[name]:g})", PIXEL_UNITS)
    attack = spec.parameters
    if keys.backend == "native" and keys.norm not in attack.norms:
        raise InvalidValue("attack", spec.name, f"another attack for norm {keys.norm}: {spec.kind} is for "
                                                f"{' and '.join(attack.norms)}")
    if keys.backend == "native" and isinstance(attack, LibraryAttack):
        return values | attack.of_library(samples) | {"backend": attack.library}
    return values | {"backend": keys.backend}


@dataclass
class Attacker:
    """Streams are named by (seed, purpose), and by example or path group, never by an attack: attacks that are compared
    meet the same frozen paths, averaged paths and starts. `most_pixels` as in Expectation; `on_pass` is told of every
    pass through the network, `on_images` of the adversarial images of every batch."""

    defence: Defence
    keys: EvaluationSettings
    classes: int
    most_pixels: int | None = None
    on_pass: OnPass = nobody
    on_images: Callable[[Batch, Tensor], None] | None = None

    def __call__(self, spec: AttackSpec, protocol: Protocol, batch: Batch, groups: Groups) -> tuple[Tensor, Path]:
        """Adversarial images of a batch whose images are in these path `groups`, and a path that the attacker knows:
        its frozen one, or one more draw (one row, or one for each image). Raises NumericalError for images that leave
        [0, 1] or the ball, InvalidValue for what a library cannot average."""
        attack, threat = ready(spec, self.keys.norm, self.keys.eps, self.keys.step)
        draw = self.drawer("attack path", batch, groups)
        averaged = protocol.samples if self.defence.space.is_random else 0
        network = InBatches(self.network, len(batch.indices)) if batch_dependent(self.defence) else self.network
        if averaged:
            self.keys.check_protocol(spec, protocol)
            path = self.drawer("reported path", batch, groups)(1)
            estimator: Estimator = Expectation(network, draw, averaged, self.most_pixels, protocol.average)
        else:
            path = draw(1)
            estimator = OnePath(network, path)
        found = self._run(spec.name, attack, threat, estimator, batch, averaged)
        check(spec.name, found, batch.images, threat)
        if self.on_images is not None:
            self.on_images(batch, found)
        return found, path

    @property
    def network(self) -> Watched:
        """What attacks see of the defence."""
        return Watched(self.defence, self.on_pass)

    def groups(self, first: int, images: int) -> Groups:
        """Which of so many images, from number `first` of the evaluation on, share their draws of paths: path groups,
        or those of a batch where predictions depend on batch mates."""
        if batch_dependent(self.defence):
            return batch_groups(first, images, self.keys.batch_size)
        return path_groups(first, images, self.keys.attack_paths)

    def drawer(self, purpose: str, batch: Batch, groups: Groups) -> Callable[[int], Path]:
        """Draws of paths, one after the other: a row for each image, or one row if one draw serves them all."""
        space = self.defence.space
        if not space.is_random:
            only = space.sample(torch.Generator())
            return lambda repeats: only
        names = batch.indices if self.keys.granularity == "sample" else groups.tolist()
        if len(set(names)) == 1:
            together = ExampleStreams(self.keys.seed, purpose, indices=names[:1])  # its numbers stay on the host
            remember(together, "drawn")
            if not (space.takes_rows and rows_pay(batch.images.device)):
                return lambda repeats: space.sample_each(together)
            return lambda repeats: _for_all(space.sample_each(together, repeats), len(names), batch.images.device)
        streams = ExampleStreams(self.keys.seed, purpose, indices=names, device=batch.images.device)
        remember(streams, "drawn")
        return lambda repeats: space.sample_each(streams, repeats)

    def _run(self, name: str, attack: Attack | LibraryAttack, threat: Threat, estimator: Estimator, batch: Batch,
             samples: int) -> Tensor:
        images, labels = batch.images, batch.labels
        if self.keys.backend == "native" and isinstance(attack, Attack):
            asked = WholeBatch(estimator, images) if batch_dependent(self.defence) else estimator
            return attack.run(asked, images, labels, self._uniform(batch), threat)
        # a library draws for the images that it is given together: its streams are named by the first of them
        names = "library", batch.indices[0]
        seed, generator = derive(self.keys.seed, *names), stream(self.keys.seed, *names, "paths")
        rows = self.keys.granularity == "sample"
        view = frozen_view(estimator, images.device) if isinstance(estimator, OnePath) else Resampled(
            self.network, lambda count: self.defence.space.sample(generator, count if rows else 1))
        if self.keys.backend == "native" and isinstance(attack, LibraryAttack):
            return attack.call(view, images, labels, threat, self.classes, seed, samples)
        return by_torchattacks(name, attack, view, images, labels, threat, self.classes, seed, samples)

    def _uniform(self, batch: Batch) -> Uniform:
        streams = ExampleStreams(self.keys.seed, "attack start", indices=batch.indices, device=batch.images.device)
        remember(streams, "drawn")
        return lambda *shape: streams.uniform(*shape).to(batch.images)


def _for_all(path: Path, images: int, device: torch.device) -> Path:
    """A path that has a row for each draw, with one for each draw and image; one row stays as it is."""
    return Path(path.choices.to(device, non_blocking=True).repeat_interleave(images, 0)) if path.per_sample else path


def uses_library(spec: AttackSpec, keys: EvaluationSettings) -> bool:
    """Whether somebody else's code attacks, which knows one path for all images that it is given."""
    return keys.backend != "native" or isinstance(spec.parameters, LibraryAttack)


def check_plan(keys: EvaluationSettings, specs: list[tuple[AttackSpec, int]], is_random: bool, classes: int) -> None:
    """Fail before the first attack, not in the middle. Raises InvalidValue."""
    for spec, samples in specs:
        values = parameters(spec, keys, samples)
        rows = is_random and keys.granularity == "sample"
        if rows and not samples and values["backend"] != "native":
            raise InvalidValue("granularity", "sample", f"batch for {spec.name} on a frozen path (libraries attack "
                                                        "some images of a batch at a time, and mix up their paths)")
        needed = spec.parameters.least_classes
        if classes < needed:
            raise InvalidValue("attack", spec.name, f"another one for {classes} classes: its DLR loss needs {needed}")
        if keys.backend == "torchattacks":
            attack, threat = ready(spec, keys.norm, keys.eps, keys.step)
            torchattacks_call(spec.name, attack, threat, classes, samples if is_random else 0)
    if keys.cumulative and is_random:
        raise InvalidValue("cumulative", True, "a deterministic model: a mean over draws needs every example attacked")
