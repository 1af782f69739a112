"""How far the statistics of batches are from the running ones that normalisers keep (RobustNorm paper, Figures 2 and
5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rnabench.data.batches import Batch
from rnabench.defence.foreign import Classifier
from rnabench.evaluation.attacker import check_plan
from rnabench.evaluation.batch import Evaluator
from rnabench.norm.layers import Norm, norm_layers
from rnabench.norm.statistics import EPS, Statistic, sample_statistics
from rnabench.path.choice import choice_layers
from rnabench.path.path import Path
from rnabench.scoring.outcome import path_groups
from rnabench.seeding import stream
from rnabench.settings.attacks import AttackSpec
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.studies.measure.norm_gradients import short_name
from rnabench.studies.measure.subject import Held
from rnabench.studies.measure.transfer import SAME_PATH
from rnabench.studies.measure.work import Arrays, Work

Numbers = NDArray[np.float64]
Shifts = dict[Statistic, Numbers]
"""Of one normaliser, by statistic, [B, groups]: that of each of B batches (variances are biased) less the running one;
NaN for a batch whose path did not go through it."""


@dataclass(frozen=True)
class Tracked:
    """A normaliser that keeps running statistics of batches: its layer, its name among the options of a choice layer
    (else None), and the module whose input it normalises."""

    layer: str
    option: str | None
    norm: Norm
    module: nn.Module

    @property
    def spread(self) -> Statistic | None:
        """What it keeps beside the mean: a variance or a range."""
        return next((name for name in self.norm.tracked if name != "mean"), None)

    def running(self, statistic: Statistic) -> Numbers:
        """[groups]."""
        return np.asarray(self.norm.get_buffer(f"running_{statistic}").double().cpu().numpy())

    def of_one(self) -> Numbers | None:
        """What normalising the constant 1 by running statistics gives, [groups], before scale and shift: (1 - mean) /
        sigma for a batch normalisation. None for a norm that needs what it keeps no running value of."""
        if not set(self.norm.sources) <= set(self.norm.tracked):
            return None
        centre, factor = self.norm.standardization(
            {name: self.norm.get_buffer(f"running_{name}").double()[None] for name in self.norm.tracked})
        return np.asarray(((1 - centre) * factor)[0].cpu().numpy())


def tracked_norms(network: nn.Module) -> list[Tracked]:
    """All of them, in the network's order. An option of a choice layer sees the layer's input, whoever is chosen."""
    choices, found = choice_layers(network), []
    for name, layer in norm_layers(network).items():
        if layer.active.tracked:
            owner, _, place = name.rpartition(".options.")
            choice = choices[owner] if place.isdigit() else None
            found.append(Tracked(short_name(name), choice.names[int(place)] if choice else None, layer.active,
                                 choice or layer))
    return found


def measures(norm: Tracked, shifts: Shifts) -> dict[str, Numbers]:
    """By name, [B]: means over the groups of |mean shift| and |spread shift|; scale-free, of |mean shift| / running
    sigma (or range), and of log(spread of the batch / running one). As a layer divides, variances and ranges have 1e-5
    added, without which a dead channel (of variance 0) would be at infinity."""
    found = {"mean": np.abs(shifts["mean"]).mean(1)}
    if norm.spread is not None:
        running, spread = norm.running(norm.spread) + EPS, shifts[norm.spread]
        sigma = np.sqrt(running) if norm.spread == "var" else running
        found |= {"spread": np.abs(spread).mean(1), "mean_in_sigmas": (np.abs(shifts["mean"]) / sigma).mean(1),
                  "log_spread": np.log((spread + running) / running).mean(1)}
    return found


@dataclass(frozen=True)
class NetworkShifts:
    """`clean` and `attacked`: the shifts of every one of the `norms`, on the same batches of so many images. An
    incomplete batch at the end is left out, since fewer images have other statistics: `left_out` images."""

    norms: Sequence[Tracked]
    clean: Sequence[Shifts]
    attacked: Sequence[Shifts]
    batches: int
    left_out: int


def statistics_shift(label: str, model: Classifier, spec: AttackSpec, keys: EvaluationSettings, classes: int,
                     work: Work) -> NetworkShifts:
    """Every batch is looked at before and after an attack on it, on one path that is drawn for it. The network runs as
    it is evaluated: deeper layers see what the layers above make of the batch there."""
    check_plan(keys, [(spec, 0)], False, classes)
    norms = tracked_norms(model)

    def on_batch(batch: Batch, first: int) -> Arrays:
        path = model.space.sample(stream(keys.seed, "statistics path", first))
        groups = path_groups(first, len(batch.indices), keys.attack_paths)
        attacked, _ = Evaluator(Held(model, path), keys, classes).attacker(spec, SAME_PATH, batch, groups)
        arrays: dict[str, NDArray[Any]] = {"images": np.array([len(batch.indices)])}
        for kind, images in (("clean", batch.images), ("attacked", attacked)):
            for number, shift in enumerate(_shifts(model, path, norms, images)):
                arrays |= {f"{kind} {number} {name}": value[None].cpu().numpy() for name, value in shift.items()}
        return arrays

    found = work(f"{spec.name} on the batches of {label}", on_batch, together=keys.batch_size)
    whole = found["images"] == found["images"][0]
    clean, attacked = ([{name: found[f"{kind} {number} {name}"][whole] for name in tracked.norm.tracked}
                        for number, tracked in enumerate(norms)] for kind in ("clean", "attacked"))
    return NetworkShifts(norms, clean, attacked, int(whole.sum()), int(found["images"][~whole].sum()))


def _shifts(model: Classifier, path: Path, norms: Sequence[Tracked], images: Tensor
            ) -> list[dict[str, Tensor]]:
    """Of each of the norms, the shifts by statistic, float64 [groups]."""
    with _watched(norms) as seen, torch.no_grad():
        model.on(path)(images)
    return [seen[number] if number in seen else dict.fromkeys(
        tracked.norm.tracked, torch.full((tracked.norm.groups,), torch.nan, dtype=torch.float64))
        for number, tracked in enumerate(norms)]


@contextmanager
def _watched(norms: Sequence[Tracked]) -> Iterator[dict[int, dict[str, Tensor]]]:
    """Collects the shifts of the norms, by number, in forward passes inside the block."""
    seen: dict[int, dict[str, Tensor]] = {}

    def keep(number: int, tracked: Tracked) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            norm = tracked.norm
            of_batch = sample_statistics(inputs[0].double(), frozenset(norm.tracked)).by_group(norm.groups, True)
            seen[number] = {name: of_batch[name][0] - norm.get_buffer(f"running_{name}") for name in norm.tracked}
        return hook
    handles = [tracked.module.register_forward_pre_hook(keep(number, tracked))
               for number, tracked in enumerate(norms)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
