"""Convergence: its rungs are evaluations, the rule decides where it ends, and noise is what draws differ by."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from rnabench.attack.estimators import OnePath
from rnabench.evaluation.batch import Evaluator
from rnabench.scoring.convergence import GradientNoise, Rung
from rnabench.scoring.interval import difference_interval
from rnabench.scoring.outcome import from_bits
from rnabench.studies.convergence import AVERAGED, NOT_DRAWN, STEPS, Convergence
from rnabench.studies.measure.convergence import Climbed, gradient_noise, passes_of
from rnabench.studies.measure.subject import at_rest
from tests.helpers import lively_model, run_evaluation
from tests.studies.test_rows_and_figures import model
from tests.studies.test_transfer import keys, work

NETWORKS = [("net", lively_model("bn+in")), ("plain", lively_model("bn"))]


def study(**settings: object) -> Convergence:
    return Convergence.model_validate({
        "attack": "pgd2", "eps": "16/255", "draws": 3, "batch_size": 4, "tolerance": 0.001, "most_samples": 4,
        "most_steps": 4, "gradient_draws": 4} | settings)


@cache
def measured(**settings: object) -> dict[str, dict[str, Any]]:
    with at_rest([network for _, network in NETWORKS]):
        results = study(**settings).compute(NETWORKS, 10, work())
    return {network["label"]: network for network in results["networks"]}


def correct(rung: dict[str, Any]) -> np.ndarray:
    return np.stack([from_bits(draw) for draw in rung["correct"]], axis=1)


def test_rungs_are_the_attack_commands_evaluations_and_changes_are_paired() -> None:
    """Within so small a tolerance nothing is on 12 images: both ladders go to their limits."""
    network = measured()["net"]
    rungs = network["rungs"]
    assert [(rung["samples"], rung["steps"]) for rung in rungs] == [(1, 2), (2, 2), (4, 2), (4, 4)]
    assert network["settled"] == {AVERAGED: False, STEPS: False}
    for place, (samples, attack) in enumerate(((1, "pgd2"), (2, "pgd2"), (4, "pgd2"), (4, "pgd4"))):
        outcome = run_evaluation(NETWORKS[0][1], attacks=[attack], protocols=[f"eot:{samples}"], eps="16/255")[1]
        assert np.array_equal(correct(rungs[place]), outcome.correct)
        assert rungs[place]["interval95"] == list(outcome.interval)
        if place:
            before = correct(rungs[place - 1])
            assert rungs[place]["change"] == list(difference_interval(outcome.correct, before, outcome.groups))
    assert [rung["passes"] for rung in rungs] == [4, 8, 16, 32]
    assert network["passes"] == 60


def test_passes_are_those_of_all_draws_where_each_is_asked_about_the_others() -> None:
    arc = study(attack="arc")
    (rung,) = passes_of(arc.spec, [Climbed(4, 20, Rung(4, np.ones((2, 2), dtype=bool)))], True, 10)
    gradients, forwards = arc.spec.parameters.passes_of(4, 10)
    assert rung == 2 * gradients + forwards > 4 * sum(arc.spec.parameters.passes(True, 10))


def test_it_stops_at_the_first_doubling_that_changes_little() -> None:
    network = measured(tolerance=0.9)["net"]
    assert [(rung["samples"], rung["steps"]) for rung in network["rungs"]] == [(1, 2), (2, 2), (2, 4)]
    assert network["settled"] == {AVERAGED: True, STEPS: True}


def test_what_draws_nothing_has_steps_only_and_no_noise_and_the_table_says_why() -> None:
    network = measured()["plain"]
    assert [(rung["samples"], rung["steps"]) for rung in network["rungs"]] == [(1, 2), (1, 4)]
    assert network["noise"] == {}
    record = {"models": [model("net", "bn+in"), model("plain", "bn")], "keys": study().model_dump(mode="json"),
              "attack": {"name": "pgd2"}, "data": {"name": "digits", "indices": list(range(12))},
              "results": {"networks": list(measured().values())}}
    (rungs, noise) = Convergence.tables(record)
    assert len(rungs[2]) == 6
    assert [NOT_DRAWN in line[2] for line in noise[2] if line[0] == "plain"] == [True]
    assert len(Convergence.findings(record)) == 2
    assert all("not settled" in sentence for sentence in Convergence.findings(record))
    assert len(Convergence.figures(record)[""].axes) == 3


def test_an_attack_without_steps_has_one_ladder() -> None:
    network = measured(attack="fgsm")["net"]
    assert [(rung["samples"], rung["steps"]) for rung in network["rungs"]] == [(1, None), (2, None), (4, None)]
    assert list(network["settled"]) == [AVERAGED]


def test_gradient_noise_is_the_spread_of_the_gradients_on_the_drawn_paths() -> None:
    network, draws = NETWORKS[0][1], 6
    with at_rest([network]):
        evaluator = Evaluator(network, keys(attack_paths=4), 10)
        batch = next(work().source.in_order(12))
        groups = evaluator.attacker.groups(0, 12)
        norm, squares = gradient_noise(evaluator, batch, groups, draws)
        draw = evaluator.attacker.drawer("gradient noise", batch, groups)
        each = np.stack([OnePath(network, draw(1)).gradient(batch.images, batch.labels).flatten(1).numpy()
                         for _ in range(draws)]).astype(float)
        plain = gradient_noise(Evaluator(NETWORKS[1][1], keys(), 10), batch, groups, draws)
    assert norm == pytest.approx(np.linalg.norm(each.mean(0), axis=1), rel=1e-5)
    assert squares == pytest.approx(np.square(each - each.mean(0)).sum((0, 2)), rel=1e-5)
    assert not plain[1].any()  # of a deterministic network: not even rounding
    assert np.isinf(GradientNoise(*plain, draws).signal_to_noise).all()


@pytest.mark.parametrize("settings", [{"tolerance": 0}, {"most_samples": 1}, {"gradient_draws": 1}, {"attack": "pdg5"}])
def test_bad_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"expected|greater"):
        study(**settings)
