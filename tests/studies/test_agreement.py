"""Agreement between draws: the predictions are the evaluation's, and what draws nothing agrees with itself."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from rnabench.scoring.outcome import from_bits
from rnabench.studies.agreement import Agreement
from rnabench.studies.measure.subject import at_rest, together
from tests.helpers import lively_model, run_evaluation
from tests.studies.test_rows_and_figures import model
from tests.studies.test_transfer import work

NETWORKS = [("net", lively_model("bn+in")), ("plain", lively_model("bn"))]


def study(**settings: object) -> Agreement:
    return Agreement.model_validate({"attack": "pgd2", "eps": "4/255", "batch_size": 4, "draws": 3, "samples": 2}
                                    | settings)


@cache
def measured() -> dict[str, dict[str, Any]]:
    with at_rest([network for _, network in NETWORKS]):
        results = study().compute(NETWORKS, 10, work())
    return {network["label"]: network for network in results["networks"]}


def correct(network: dict[str, Any], name: str) -> np.ndarray:
    return np.stack([from_bits(draw) for draw in network["on"][name]["correct"]], axis=1)


def test_accuracies_are_those_of_the_attack_command() -> None:
    for label, network in NETWORKS:
        clean, attacked = run_evaluation(network, attacks=["pgd2"], protocols=["eot:2"], eps="4/255")
        for name, outcome in (("clean", clean), ("attacked", attacked)):
            assert np.array_equal(correct(measured()[label], name), outcome.correct)
            assert measured()[label]["on"][name]["accuracy"] == (outcome.accuracy, *outcome.interval)


def test_draws_agree_at_least_where_both_are_right_and_what_draws_nothing_always() -> None:
    for name in ("clean", "attacked"):
        right = correct(measured()["net"], name).sum(1)
        assert (np.array(measured()["net"]["on"][name]["by_image"]) >= right * (right - 1) / 6 - 1e-4).all()
        mean, low, high = measured()["net"]["on"][name]["agreement"]
        assert 0 <= low <= mean <= high <= 1
        assert measured()["plain"]["on"][name]["agreement"][0] == 1


def test_classes_of_images_are_all_of_them() -> None:
    network = measured()["net"]
    assert sum(each["images"] for each in network["by_class"]) == 12
    mean = sum(each["images"] * each["accuracy"][0] for each in network["by_class"] if each["accuracy"]) / 12
    assert mean == pytest.approx(network["on"]["attacked"]["accuracy"][0])


def test_what_a_reader_sees() -> None:
    record = {"models": [model("net", "bn+in"), model("plain", "bn")], "keys": study().model_dump(mode="json"),
              "attack": {"name": "pgd2"}, "data": {"name": "digits", "indices": list(range(12))},
              "results": {"networks": list(measured().values())}}
    networks, classes = Agreement.tables(record)
    assert [line[0] for line in networks[2]] == ["net", "plain"]
    assert [line[0] for line in classes[2]] == ["net"]
    assert networks[2][1][1].startswith("100.0")
    assert len(Agreement.rows(record)) == 4
    assert len(Agreement.findings(record)) == 1
    assert len(Agreement.figures(record)[""].axes) == 2


def test_images_are_parted_where_a_defence_knows_one_draw_at_a_time() -> None:
    class OneDraw:
        space = type("Draws", (), {"takes_rows": False})()
        batch_dependent = False

    groups = np.array([0, 1, 2, 0, 1])
    parts = [rows.tolist() for rows in together(OneDraw(), groups)]  # type: ignore[arg-type]
    assert parts == [[0, 3], [1, 4], [2]]
    assert [rows.tolist() for rows in together(NETWORKS[0][1], groups)] == [[0, 1, 2, 3, 4]]


def test_bad_settings() -> None:
    with pytest.raises(ValidationError, match="greater"):
        study(samples=0)
