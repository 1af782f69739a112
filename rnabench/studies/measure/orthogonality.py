"""Orthogonality of input gradients, agreement and attack transfer between sub-networks (SORS paper, Table 1): two paths
of one network, or paths of two networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rnabench.data.batches import Batch
from rnabench.evaluation.attacker import check_plan
from rnabench.evaluation.batch import Evaluator
from rnabench.path.path import Path
from rnabench.scoring.interval import Bits, crossed_share, mean_interval
from rnabench.scoring.outcome import path_groups
from rnabench.seeding import stream
from rnabench.settings.attacks import AttackSpec
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.studies import Results
from rnabench.studies.measure.similarity import cosine, input_gradient
from rnabench.studies.measure.subject import Held, Networks
from rnabench.studies.measure.transfer import SAME_PATH
from rnabench.studies.measure.work import Arrays, OnBatch, Work

BINS = np.linspace(-1, 1, 101)


@dataclass(frozen=True)
class SubNetworks:
    """What is seen of pairs of sub-networks of a source and a target, [N images, P pairs] each.

    `cosine`: of the gradients of the cross-entropy, NaN where one is exactly zero. `same`: they predict the same class.
    `right`: both are right. On the images that are looked at: clean ones, or those that an attack made on the source's
    sub-network. Only of attacked images: `before`, both are right on the clean image; `source_fails` and
    `target_fails`, on the attacked one.
    """

    cosine: NDArray[np.float64]
    same: Bits
    right: Bits
    before: Bits | None = None
    source_fails: Bits | None = None
    target_fails: Bits | None = None

    def as_json(self) -> Results:
        """Shares with 95 % intervals over images and pairs."""
        apart, everything = 1 - np.abs(self.cosine), np.ones_like(self.same)
        defined = ~np.isnan(apart)
        found: Results = {
            "pairs": self.same.shape[1], "undefined": int((~defined).sum()),
            "orthogonality": _within_range(mean_interval(apart)), "agreement": crossed_share(self.same, everything),
            "both_right": crossed_share(self.right, everything), "success": None, "source_success": None,
            "by_pair": [float(apart[:, pair][defined[:, pair]].mean()) if defined[:, pair].any() else None
                        for pair in range(self.same.shape[1])],
            "cosines": np.histogram(self.cosine[defined], BINS)[0].tolist(),
        }
        if self.before is not None and self.source_fails is not None and self.target_fails is not None:
            found |= {"success": crossed_share(self.target_fails, self.before),
                      "source_success": crossed_share(self.source_fails, self.before),
                      "counted": int(self.before.sum())}
        return found


def _within_range(found: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
    """A mean of values in [0, 1] and its interval, which Student's t lets go beyond; NaN stays."""
    return None if found is None else (found[0], *(float(np.clip(limit, 0, 1)) for limit in found[1:]))  # type: ignore[return-value]


def drawn_paths(networks: Networks, pairs: int, seed: int) -> list[list[tuple[Path, Path]]]:
    """Of each network, `pairs` times two independent paths; its only one, once, if it does not draw. Networks of one
    space of paths meet the same draws."""
    found = []
    for _, model in networks:
        streams = [stream(seed, "orthogonality", number) for number in range(pairs if model.space.is_random else 1)]
        found.append([(model.space.sample(each), model.space.sample(each)) for each in streams])
    return found


def orthogonality(networks: Networks, spec: AttackSpec | None, pairs: int, keys: EvaluationSettings, classes: int,
                  work: Work) -> list[list[SubNetworks]]:
    """Cells [source][target]. Pair k is of the source's k-th first path, on which the attack is made (if there is one),
    and of the target's k-th second path; a network that does not draw has the same in all pairs."""
    if spec is not None:
        check_plan(keys, [(spec, 0)], False, classes)
    drawn = drawn_paths(networks, pairs, keys.seed)
    cells = []
    for source, (label, model) in enumerate(networks):
        parts: list[Arrays] = []
        for number, (first, _) in enumerate(drawn[source]):
            # images that were made on the only path there is serve all paths of the targets
            chosen = [[second for _, second in paths] if not model.space.is_random or len(paths) == 1
                      else [paths[number][1]] for paths in drawn]
            name = f"{spec.name if spec else 'clean images'}: {label}, path {number + 1} of {len(drawn[source])}"
            parts.append(work(name, _on_source(networks, source, first, chosen, spec, keys, classes)))
        cells.append([SubNetworks(**{
            name.partition(" ")[2]: np.concatenate([part[name] for part in parts], axis=1)
            for name in parts[0] if name.partition(" ")[0] == str(target)}) for target in range(len(networks))])
    return cells


def _on_source(networks: Networks, source: int, first: Path, chosen: Sequence[Sequence[Path]], spec: AttackSpec | None,
               keys: EvaluationSettings, classes: int) -> OnBatch:
    """Arrays [N, paths] `<target> <field>` of a source's path with the `chosen` paths of every target."""
    evaluators = [Evaluator(model, keys, classes) for _, model in networks]
    attacker = Evaluator(Held(networks[source][1], first), keys, classes).attacker

    def on_batch(batch: Batch, start: int) -> Arrays:
        groups = path_groups(start, len(batch.indices), keys.attack_paths)
        images = batch.images if spec is None else attacker(spec, SAME_PATH, batch, groups)[0]

        def seen(place: int, path: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            """Gradient and predictions on the images looked at, and whether it is right on the clean ones."""
            predicted = evaluators[place].predictions(images, path, batch, groups)[0]
            before = predicted if spec is None else evaluators[place].predictions(batch.images, path, batch, groups)[0]
            return input_gradient(networks[place][1], path, images, batch.labels), predicted, before == batch.labels

        slope, predicted, before = seen(source, first)
        arrays: Arrays = {}
        for target, paths in enumerate(chosen):
            columns: dict[str, list[torch.Tensor]] = {}
            for path in paths:
                other_slope, other_predicted, other_before = seen(target, path)
                wrong, other_wrong = predicted != batch.labels, other_predicted != batch.labels
                found = {"cosine": cosine(slope, other_slope), "same": predicted == other_predicted,
                         "right": ~(wrong | other_wrong)}
                if spec is not None:
                    found |= {"before": before & other_before, "source_fails": wrong, "target_fails": other_wrong}
                for name, values in found.items():
                    columns.setdefault(name, []).append(values)
            arrays |= {f"{target} {name}": torch.stack(values, 1).cpu().numpy() for name, values in columns.items()}
        return arrays
    return on_batch
