"""Whether an attack is strong enough: draws per gradient doubled, then steps; and how noisy gradients are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from rnabench.attack.estimators import Expectation
from rnabench.attack.losses import cross_entropy
from rnabench.attack.resumable import Kept, resumable
from rnabench.data.batches import Batch
from rnabench.evaluation.attacker import check_plan
from rnabench.evaluation.batch import Evaluator
from rnabench.evaluation.cells import Cell
from rnabench.evaluation.sizes import check_sizes
from rnabench.scoring.convergence import GradientNoise, Rung, climb, doubled
from rnabench.scoring.interval import Bits, Groups
from rnabench.settings.attacks import AttackSpec, with_steps
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.protocols import Protocol, parse_protocol
from rnabench.studies.measure.subject import Subject, together
from rnabench.studies.measure.work import Arrays, OnBatch, Work


@dataclass(frozen=True)
class Limits:
    """How far the ladders go: `tolerance` a share, the largest number of draws per gradient and of steps."""

    tolerance: float
    samples: int
    steps: int


@dataclass(frozen=True)
class Climbed:
    """A rung of either ladder: its draws per gradient and steps (None: the attack has none), and what was found."""

    samples: int
    steps: int | None
    rung: Rung


@dataclass(frozen=True)
class Convergence:
    """Of one network. `by_samples` is empty for one that draws nothing, `by_steps` for an attack without steps; the
    first rung of the latter is the last one of the former. `noise` is by where the gradients were taken."""

    by_samples: list[Climbed]
    by_steps: list[Climbed]
    noise: dict[str, GradientNoise]
    groups: Groups | None

    @property
    def rungs(self) -> list[Climbed]:
        """All of them, each once."""
        return self.by_samples + self.by_steps[bool(self.by_samples):]


def convergence(subject: Subject, spec: AttackSpec, limits: Limits, gradient_draws: int, keys: EvaluationSettings,
                classes: int, work: Work) -> Convergence:
    """Both ladders, and the noise of gradients on clean images and on those that one draw per step leaves.

    Every rung meets the same images, starts and scoring draws. Raises InvalidValue for an attack that the network
    cannot be attacked with.
    """
    random, first = subject.is_random, steps_of(spec)
    check_plan(keys, [(spec, 1 if random else 0)], random, classes)
    check_sizes(subject.defence, [spec], work.source, subject.label)
    evaluator = Evaluator(subject.defence, keys, classes)
    groups = evaluator.attacker.groups(0, len(work.source)) if random else None
    measured: dict[tuple[int, int | None], Bits] = {}

    def right(samples: int, steps: int | None) -> Bits:
        if (samples, steps) not in measured:
            name = f"{subject.label}: {samples} draws, {steps or 'no'} steps"
            measured[samples, steps] = work(name, _attacked(evaluator, _with(spec, steps), _protocol(samples)))["right"]
        return measured[samples, steps]

    by_samples = [] if not random else [Climbed(rung.value, first, rung) for rung in climb(
        doubled(1, limits.samples), lambda samples: right(samples, first), groups, limits.tolerance)]
    samples = by_samples[-1].samples if by_samples else 1
    by_steps = [] if first is None else [Climbed(samples, rung.value, rung) for rung in climb(
        doubled(first, limits.steps), lambda steps: right(samples, steps), groups, limits.tolerance)]
    noise = _noise(subject, evaluator, spec, gradient_draws, work) if random else {}
    return Convergence(by_samples, by_steps, noise, groups)


def steps_of(spec: AttackSpec) -> int | None:
    """The attack's own steps, which the ladder begins with; None if it has none."""
    steps = getattr(spec.parameters, "steps", None)
    return steps if isinstance(steps, int) else None


def _with(spec: AttackSpec, steps: int | None) -> AttackSpec:
    return spec if steps is None else replace(with_steps(spec, steps), name=spec.name)


def _protocol(samples: int) -> Protocol:
    return parse_protocol(f"eot:{samples}")


def _attacked(evaluator: Evaluator, spec: AttackSpec, protocol: Protocol) -> OnBatch:
    def on_batch(batch: Batch, first: int) -> Arrays:
        return {"right": evaluator.outcome(Cell(spec, protocol), batch, first).correct}
    return on_batch


def _noise(subject: Subject, evaluator: Evaluator, spec: AttackSpec, draws: int, work: Work
           ) -> dict[str, GradientNoise]:
    def on_batch(batch: Batch, first: int) -> Arrays:
        found: dict[str, NDArray[np.float64]] = {}
        groups = evaluator.attacker.groups(first, len(batch.indices))
        for rows in together(subject.defence, groups):
            part = batch.take(rows.tolist())
            attacked, _ = evaluator.attacker(spec, _protocol(1), part, groups[rows])
            for where, images in (("clean", part.images), ("attacked", attacked)):
                drawn = gradient_noise(evaluator, replace(part, images=images), groups[rows], draws)
                for name, values in zip((f"{where} norm", f"{where} squares"), drawn, strict=True):
                    found.setdefault(name, np.zeros(len(groups)))[rows] = values
        return found

    arrays = work(f"{subject.label}: gradient noise", on_batch)
    return {where: GradientNoise(arrays[f"{where} norm"], arrays[f"{where} squares"], draws)
            for where in ("clean", "attacked")}


def gradient_noise(evaluator: Evaluator, batch: Batch, groups: Groups, draws: int
                   ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The norm of the mean of so many draws of each image's gradient of cross-entropy, [N], and the sum over draws of
    the squared distances from that mean, [N] (Welford's recurrence: exactly 0 where no draw differs)."""
    one = Expectation(evaluator.attacker.network, evaluator.attacker.drawer("gradient noise", batch, groups), 1)
    mean = torch.zeros_like(batch.images, dtype=torch.float64 if batch.images.device.type == "cpu" else torch.float32)
    found = Kept(mean=mean, squares=mean.new_zeros(len(mean)))
    for number in resumable(range(1, draws + 1), found):
        apart = one.gradient(batch.images, batch.labels, cross_entropy).to(mean) - found.mean
        found.mean = found.mean + apart / number
        found.squares = found.squares + apart.square().flatten(1).sum(1) * ((number - 1) / number)
    return found.mean.flatten(1).norm(dim=1).double().cpu().numpy(), found.squares.double().cpu().numpy()


def passes_of(spec: AttackSpec, climbed: Sequence[Climbed], random: bool, classes: int) -> list[float]:
    """Forward and backward passes per image that each rung's attack plans: two for each gradient."""
    planned = [_with(spec, each.steps).parameters.passes_of(each.samples if random else 0, classes)
               for each in climbed]
    return [2 * gradients + forwards for gradients, forwards in planned]
