"""The attacks on randomised classifiers, and what is averaged over draws, in whole evaluations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rnabench.attack.estimators import Expectation
from rnabench.data.batches import ResidentSource
from rnabench.defence.foreign import ForeignModel
from rnabench.errors import InvalidValue
from rnabench.evaluation.attacker import Attacker
from rnabench.evaluation.cells import Cell, probes
from rnabench.evaluation.cost import forward_passes
from rnabench.settings.attacks import parse_attack
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.protocols import parse_protocol
from rnabench.settings.suites import suites
from tests.evaluation.test_engine import same
from tests.helpers import Lambda, full_evaluation, lively_model, random_images, run_evaluation

SHORT: list[dict[str, Any]] = [{"name": f"short-{kind}", "kind": kind, **settings} for kind, settings in {
    "arc": {"steps": 2}, "aggmo": {"steps": 3}, "storm": {"steps": 3}, "reselect": {"steps": 3, "draws": 4}}.items()]
PROTOCOLS = ["eot:2", "eot:2:probabilities"]


def noisy() -> ForeignModel:
    """A network that draws for each image."""
    weights = torch.randn(192, 10, generator=torch.Generator().manual_seed(0))

    def logits(x: Tensor) -> Tensor:
        return (x + 0.1 * torch.randn_like(x)).flatten(1) @ weights

    return ForeignModel(Lambda(logits), torch.rand(4, 3, 8, 8), 10)


@pytest.mark.parametrize("granularity", ["batch", "sample"])
def test_no_batch_size_changes_an_outcome(granularity: str) -> None:
    runs = [run_evaluation(lively_model(layers=3), images=random_images(6), protocols=PROTOCOLS, draws=2,
                           granularity=granularity, attacks=SHORT, attack_paths=2, batch_size=size) for size in (4, 6)]
    assert len(runs[0]) == 1 + len(SHORT) * len(PROTOCOLS)
    assert same(*runs)


def test_networks_of_anybody_and_networks_whose_images_are_mates_are_attacked_too() -> None:
    """Both are far from robust."""
    for model in (noisy(), lively_model("bn-batch+in", layers=3)):
        natural, *attacked = run_evaluation(model, images=random_images(8), protocols=["eot:2"], attacks=SHORT,
                                            batch_size=8, draws=4, eps="32/255")
        assert np.mean([each.accuracy for each in attacked]) <= natural.accuracy


def test_held_draws_of_a_network_of_anybody_s_are_the_same_noise_again() -> None:
    model, generator = noisy(), torch.Generator().manual_seed(0)
    estimator = Expectation(model, lambda repeats: model.space.sample(generator), 3)
    images, labels = torch.rand(4, 3, 8, 8, generator=generator), torch.arange(4)
    held = estimator.held()
    assert torch.equal(held.gradient(images, labels), held.gradient(images, labels))
    assert not torch.equal(estimator.gradient(images, labels), estimator.gradient(images, labels))


@pytest.mark.parametrize("keys", [{"attacks": ["autoattack"]}, {"attacks": ["pgd2"], "backend": "torchattacks"}],
                         ids=["pyautoattack", "torchattacks"])
def test_a_library_that_averages_by_itself_refuses_other_averages_before_anything_starts(keys: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=r"'eot:3:logits' is not valid; expected eot:3 for (autoattack|pgd2)"):
        run_evaluation(lively_model(), protocols=["eot:3:logits"], **keys)


def test_probes_of_the_sanity_checks_average_like_the_table() -> None:
    def names(protocols: list[str]) -> set[str]:
        keys = EvaluationSettings.model_validate({"attacks": ["pgd10"], "protocols": protocols})
        return {cell.protocol.name for cell in probes(keys, True) if cell.protocol}

    assert names(["paper"]) == {"eot:10", "eot:5", "same-path"}
    assert names(["eot:6", "eot:6:logits"]) == {"eot:6", "eot:3", "same-path"}
    assert names(["eot:6:logits", "paper"]) == {"eot:6:logits", "eot:3:logits", "same-path"}


def test_an_evaluation_under_another_average_is_judged() -> None:
    found = full_evaluation(lively_model(layers=2), images=random_images(2), attacks=["pgd2"],
                            protocols=["eot:4:logits"], sanity_examples=2)
    assert {outcome.protocol for outcome in found.probes} == {"eot:4:logits", "eot:2:logits", "same-path"}


@pytest.mark.parametrize("protocol", ["paper", "eot:3", "eot:3:logits"])
@pytest.mark.parametrize("described", [
    "pgd4x2", "apgd4", "fgsm", *SHORT[1:]], ids=lambda described: str(described)[:20])
def test_the_forecast_counts_the_passes_that_an_attack_makes(described: str | dict[str, Any], protocol: str) -> None:
    """Of attacks that ask about every image at every step: on a frozen path APGD leaves out whom it has fooled."""
    heard: list[float] = []
    model, keys = lively_model(), EvaluationSettings.model_validate({"draws": 2, "eps": 0.0001, "attacks": ["fgsm"]})
    spec, asked = parse_attack(described), parse_protocol(protocol)
    (images,) = ResidentSource(random_images(6), torch.device("cpu")).in_order(6)
    Attacker(model, keys, 10, on_pass=heard.append)(spec, asked, images, np.zeros(6, dtype=np.int64))
    attacker = Attacker(model, keys, 10)
    scoring = forward_passes(attacker, Cell(None, asked))
    assert sum(heard) / 6 == pytest.approx(forward_passes(attacker, Cell(spec, asked)) - scoring)


def test_arc_asks_all_paths_about_each_path_s_try() -> None:
    arc = parse_attack({"name": "own", "kind": "arc", "steps": 1, "candidates": 1}).parameters
    assert arc.passes_of(5, 10) == (5, 30)
    assert arc.passes_of(0, 10) == arc.passes(False, 10) == (1, 2)


def test_the_referee_s_attacks_take_about_equal_passes() -> None:
    (suite,) = [suite for _, suite in suites("referee")]
    each = [2 * gradients + forwards for gradients, forwards in
            (parse_attack(name).parameters.passes_of(20, 10) for name in suite.attacks)]
    assert max(each) <= 1.5 * min(each)
