"""All-or-nothing accuracy: what it must be, whatever the attackers, and which attackers there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rnabench.errors import InvalidValue
from rnabench.scoring.outcome import from_bits
from rnabench.studies.all_or_nothing import AllOrNothing
from rnabench.studies.measure.all_or_nothing import Under, under_all
from rnabench.studies.measure.subject import at_rest
from tests.helpers import lively_model, run_evaluation
from tests.studies.test_transfer import work

NETWORKS = [("a", lively_model("bn")), ("b", lively_model("bn+in", seed=1)), ("c", lively_model("gn2", seed=2))]


def study(**settings: object) -> AllOrNothing:
    return AllOrNothing.model_validate({"attacks": ["fgsm", "midifgsm2"], "eps": "16/255", "draws": 3, "batch_size": 4}
                                       | settings)


def compute(**settings: object) -> dict[str, dict[str, Any]]:
    with at_rest([network for _, network in NETWORKS]):
        results = study(**settings).compute(NETWORKS, 10, work())
    return {defence["defence"]: defence for defence in results["defences"]}


RIGHT = st.integers(1, 5).flatmap(lambda draws: st.lists(
    st.lists(st.lists(st.booleans(), min_size=draws, max_size=draws), min_size=4, max_size=4), min_size=1, max_size=4))


@given(RIGHT)
def test_never_more_than_under_any_attacker_alone(right: list[list[list[bool]]]) -> None:
    attackers = [Under(np.array(each), None) for each in right]
    whole = under_all(attackers)
    assert whole.right.mean() <= min(attacker.right.mean() for attacker in attackers)
    assert np.array_equal(under_all(attackers[:1]).right, attackers[0].right)
    assert np.array_equal(under_all(attackers * 2).right, whole.right)


def test_a_defence_is_attacked_from_all_others_and_the_product_is_taken_by_image_and_draw() -> None:
    found = compute(with_clean=True)
    assert set(found) == {"a", "b", "c"}
    for label, defence in found.items():
        assert {(each["attack"], each["source"]) for each in defence["attackers"]} == {
            (attack, source) for attack in ("fgsm", "midifgsm2") for source in found if source != label}
        draws = [np.stack([from_bits(draw) for draw in each["correct"]])
                 for each in (*defence["attackers"], defence["clean"])]
        assert {each.shape for each in draws} == {(3 if label == "b" else 1, 12)}
        assert defence["all"]["accuracy"] == pytest.approx(np.prod(draws, 0).mean())
        low, high = defence["all"]["interval95"]
        assert low <= defence["all"]["accuracy"] <= high


def test_one_attacker_is_that_attacker_and_the_white_box_is_the_evaluations() -> None:
    found = compute(attacks=["fgsm"], sources=["a", "c"], white_box=True, ensembles="all")
    (defence,) = found.values()
    assert [each["source"] for each in defence["attackers"]] == ["a", "b", "c", "all"]
    paper = run_evaluation(NETWORKS[1][1], attacks=["fgsm"], protocols=["paper"], eps="16/255")[1]
    assert defence["attackers"][1]["accuracy"] == paper.accuracy
    alone = compute(attacks=["fgsm"], sources=["a"])["c"]
    assert alone["all"] == {name: alone["attackers"][0][name] for name in alone["all"]}


@pytest.mark.parametrize(("settings", "words"), [
    ({"sources": ["a", "d"]}, "sources: 'd'"), ({"sources": ["a", "b", "c"]}, "a defence and another network"),
    ({"ensembles": "a & d"}, "ensembles: 'd'"), ({"ensembles": {"x": ["a", "a"]}}, "two different networks"),
    ({"ensembles": "hold-uot"}, "did you mean 'hold-out'"),
])
def test_networks_that_are_not_there_get_a_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        compute(**settings)


@pytest.mark.parametrize("settings", [
    {"protocol": "same-path"}, {"attacks": ["fgsm", "fgsm"]}, {"ensembles": {"x": {"a": 0.5, "b": 0.6}}},
    {"ensembles": {"x": {"a": -1, "b": 2}}}, {"attack": "pgd9", "attacks": ["fgsm", "pgd3"]}])
def test_bad_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="expected"):
        study(**settings)
