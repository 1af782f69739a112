"""The best mixture of a network's paths: its attacks are those of the evaluation, its numbers what the game says."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from rnabench.errors import InvalidValue
from rnabench.scoring.mixture import values
from rnabench.scoring.outcome import from_bits
from rnabench.settings.attacks import parse_attack
from rnabench.studies.best_mixture import BEST, SINGLE, UNIFORM, BestMixture
from rnabench.studies.measure.subject import at_rest, subjects
from rnabench.studies.measure.transfer import transfer
from tests.helpers import lively_model
from tests.studies.test_rows_and_figures import model
from tests.studies.test_transfer import keys, work

NETWORKS = [("net", lively_model("bn+in")), ("plain", lively_model("bn"))]


def study(**settings: object) -> BestMixture:
    return BestMixture.model_validate({"attack": "pgd2", "eps": "4/255", "batch_size": 4, "paths": 3, "samples": 2}
                                      | settings)


@cache
def measured(**settings: object) -> dict[str, dict[str, Any]]:
    with at_rest([network for _, network in NETWORKS]):
        results = study(**settings).compute(NETWORKS, 10, work())
    return {network["label"]: network for network in results["networks"]}


def right(network: dict[str, Any]) -> np.ndarray:
    """[attacks, images, paths]"""
    return np.stack([np.stack([from_bits(path) for path in paths], 1) for paths in network["right"].values()])


def test_an_attack_on_a_path_is_the_transfer_matrixs() -> None:
    network = measured()["net"]
    assert list(network["right"]) == ["net: #1", "net: #2", "net: #3", "eot:2"]
    with at_rest([NETWORKS[0][1]]):
        held = subjects(NETWORKS[:1], "3", 0)
        matrix = transfer(held, parse_attack("pgd2"), keys(eps="4/255", attack_paths=1), 10, work())
    for source, row in enumerate(matrix):
        assert np.array_equal(right(network)[source], np.concatenate([cell.after for cell in row], 1))


def test_numbers_follow_from_who_is_right_and_no_mixture_beats_the_best_on_its_own_images() -> None:
    network = measured()["net"]
    found = {each["defender"]: each["accuracy"] for each in network["defenders"]}
    game = right(network)
    assert found[UNIFORM] == pytest.approx(values(game, np.full(3, 1 / 3)).mean())
    assert network["in_sample"] == pytest.approx(values(game, np.array(network["mixture"])).mean())
    singles = [values(game, path).mean() for path in np.eye(3)]
    assert network["in_sample"] >= max(found[UNIFORM], *singles) - 1e-7
    assert found[SINGLE] <= max(singles) + 1e-9
    halves = np.array(network["halves"])
    assert halves.sum(1) == pytest.approx(np.ones(2))
    by_halves = [values(game[:, half::2], halves[half]) for half in (0, 1)]
    assert found[BEST] == pytest.approx(np.concatenate(by_halves).mean())


def test_a_network_of_one_path_is_that_path() -> None:
    network = measured()["plain"]
    assert list(network["right"]) == ["plain"]
    assert len({each["accuracy"] for each in network["defenders"]}) == 1
    assert network["mixture"] == [1.0]


def test_what_a_reader_sees() -> None:
    record = {"models": [model("net", "bn+in"), model("plain", "bn")], "keys": study().model_dump(mode="json"),
              "attack": {"name": "pgd2"}, "data": {"name": "digits", "indices": list(range(12))},
              "results": {"networks": list(measured().values())}}
    tables = BestMixture.tables(record)
    assert [len(lines) for _, _, lines in tables] == [6, 3, 1]
    assert len(BestMixture.rows(record)) == 6
    assert all("best mixture" in sentence for sentence in BestMixture.findings(record))
    assert [len(axes.patches) for axes in BestMixture.figures(record)[""].axes] == [6, 4]


@pytest.mark.parametrize("settings", [{"paths": "deployed"}, {"paths": 0}, {"samples": 0}, {"n_examples": 1}])
def test_bad_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"expected|greater"):
        study(**settings)


def test_a_network_without_one_option_throughout_gets_a_line() -> None:
    odd = lively_model("bn+in")
    object.__setattr__(odd.space, "options", tuple((f"{place}a", f"{place}b") for place in range(6)))
    with pytest.raises(InvalidValue, match="--paths"):
        study(paths="normalisers").compute([("odd", odd)], 10, work())
