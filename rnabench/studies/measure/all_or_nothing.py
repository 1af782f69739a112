"""Accuracy against several attackers at once: an image counts only if the defence is right under every one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rnabench.evaluation.batch import Evaluator
from rnabench.scoring.interval import Bits, Groups, accuracy_interval
from rnabench.scoring.outcome import bits, fewest_groups
from rnabench.settings.attacks import AttackSpec
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.protocols import Protocol
from rnabench.settings.studies import Results
from rnabench.settings.transferring import Weights
from rnabench.studies.measure.subject import Subject
from rnabench.studies.measure.transfer import Source, check_attacks, clean_images, on_images_of, sources
from rnabench.studies.measure.work import Work


@dataclass(frozen=True)
class Under:
    """Who is right under one attacker, or under all, [N, D] on the D draws of the defence. `groups` as in
    TransferEntry."""

    right: Bits
    groups: Groups | None

    def as_json(self) -> Results:
        return {"accuracy": float(self.right.mean()), "interval95": list(accuracy_interval(self.right, self.groups)),
                "draws": self.right.shape[1], "correct": [bits(draw) for draw in self.right.T]}


def under_all(attackers: Sequence[Under]) -> Under:
    """Right under all of them: the product for each image and each draw, whose number means the same path under every
    attacker. The mean over images and draws is (1/N) sum_i prod_a 1[f(x_i^(a)) = y_i], section 4.4 of the thesis."""
    right = np.stack([attacker.right for attacker in attackers]).all(0)
    return Under(np.asarray(right), fewest_groups(attacker.groups for attacker in attackers))


@dataclass(frozen=True)
class Against:
    """One defence: `attackers` by attack and source (an own name: the white box), and what it is on `clean` images."""

    defence: str
    clean: Under
    attackers: dict[tuple[str, str], Under]

    def as_json(self, with_clean: bool) -> Results:
        counted = [*self.attackers.values(), *([self.clean] if with_clean else [])]
        return {"defence": self.defence, "clean": self.clean.as_json(),
                "attackers": [{"attack": attack, "source": source} | under.as_json()
                              for (attack, source), under in self.attackers.items()],
                "all": under_all(counted).as_json()}


def against_all(subjects: Sequence[Subject], defences: Mapping[str, Sequence[str]], specs: Sequence[AttackSpec],
                protocol: Protocol, keys: EvaluationSettings, classes: int, work: Work,
                ensembles: Mapping[str, Weights]) -> list[Against]:
    """What each of the `defences` holds against all attacks on its sources, networks or ensembles by label.

    A network that draws is attacked under `protocol`, and predicts with `keys.draws` fresh paths, the same ones under
    every attacker. Raises InvalidValue as `transfers` does.
    """
    check_attacks(subjects, specs, keys, classes, work)
    made_on = {source.label: source for source in sources(subjects, ensembles)}
    evaluators = {label: Evaluator(source.defence, keys, classes) for label, source in made_on.items()}
    images = len(work.source)
    found = {}
    for defence in defences:
        right = work(f"clean images: {defence}", clean_images(evaluators[defence]))["right"]
        found[defence] = Against(defence, Under(right, _groups([evaluators[defence]], images)), {})
    for source in made_on.values():
        targets = {label: evaluators[label] for label, attackers in defences.items() if source.label in attackers}
        for spec in specs if targets else ():
            arrays = work(f"{spec.name} on {source.label}",
                          on_images_of(evaluators[source.label], protocol, spec, targets))
            for label, evaluator in targets.items():
                found[label].attackers[spec.name, source.label] = Under(
                    arrays[label], _groups([evaluators[source.label], evaluator], images))
    return list(found.values())


def attackers_of(defence: str, made_on: Sequence[Source], chosen: Sequence[str] | None, white_box: bool) -> list[str]:
    """The labels of what a defence is attacked from: all `chosen` (None: all) networks and ensembles that it is not
    and has no part in, and itself if asked for."""
    return [source.label for source in made_on
            if (source.label == defence and white_box)
            or (source.label != defence and defence not in (source.weights or {})
                and (chosen is None or source.weights or source.label in chosen))]


def _groups(evaluators: Sequence[Evaluator], images: int) -> Groups | None:
    return fewest_groups(each.attacker.groups(0, images) for each in evaluators if each.random)
