"""A name is a claim: what reads as an attack or a suite is that, parameters included."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnabench.errors import InvalidSettings, InvalidValue
from rnabench.jobs.crosscheck import cases
from rnabench.settings.attacks import ATTACKS, parse_attack, with_steps
from rnabench.settings.base import from_options
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.suites import SUITES

SOME = ("fgsm", "bim7", "pgd20", "pgd20-margin", "pgd3-dlrx2", "mifgsm", "mifgsm9", "apgd", "apgd-t", "square500", "cw",
        "cw20", "deepfool", "autoattack", "pgd20@4/255")


def mapping(name: str) -> dict[str, Any]:
    spec = parse_attack(name)
    return {"kind": spec.kind, **spec.parameters.model_dump(), **({} if spec.eps is None else {"eps": spec.eps})}


@given(st.sampled_from(SOME), st.sampled_from(SOME))
def test_an_attacks_name_is_only_for_the_attack_that_it_is(name: str, attack: str) -> None:
    described = {**mapping(attack), "name": name}
    same = mapping(name) == mapping(attack)
    if same:
        assert parse_attack(described).parameters == parse_attack(name).parameters
    else:
        with pytest.raises(InvalidValue, match="another `name`"):
            parse_attack(described)


@pytest.mark.parametrize(("described", "reason"), [
    ({"name": "autoattack", "kind": "fgsm"}, "it reads as autoattack, and this is fgsm"),
    ({"name": "Auto-Attack", "kind": "fgsm"}, "it reads as autoattack"),
    ({"name": "square-fast", "kind": "pgd"}, "it reads as square"),
    ({"name": "PGD20", "kind": "pgd", "steps": 5}, "this pgd has steps 5 and not 20"),
    ({"name": "pgd40-slow", "kind": "pgd", "steps": 10}, "this pgd has steps 10 and not 40"),
    ({"name": "pgd-100", "kind": "pgd", "steps": 1}, "this pgd has steps 1 and not 100"),
    ({"name": "MI-FGSM-50", "kind": "mifgsm", "steps": 5}, "this mifgsm has steps 5 and not 50"),
    ({"name": "square500-mine", "kind": "square", "queries": 5}, "queries 5 and not 500"),
    ({"name": "pgd20", "kind": "pgd", "step_size": "1/255"}, "step_size 0.00392157 and not the evaluation's"),
    ({"name": "pgd20", "kind": "pgd", "eps": 0.5}, "eps 0.5 and not the evaluation's"),
    ({"kind": "cw", "steps": 20}, "steps 20 and not 1000"),
    ({"name": "adaptive", "kind": "fgsm"}, "it is a suite's"),
])
def test_what_a_name_claims_falsely_is_said(described: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        parse_attack(described)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("described", [
    {"name": "cw-search", "kind": "cw", "searches": 6}, {"name": "pgd-mine", "kind": "pgd", "steps": 3},
    {"name": "pgd40-slow", "kind": "pgd", "steps": 40, "step_size": "1/255"}, {"name": "mine", "kind": "autoattack"},
    {"name": "MI-FGSM", "kind": "mifgsm", "decay": 0.5}, {"kind": "pgd", "steps": 3},
])
def test_a_name_that_claims_nothing_false_is_free(described: dict[str, Any]) -> None:
    assert parse_attack(described).name == described.get("name", described["kind"])


def test_the_cases_of_the_crosscheck_are_what_their_names_say() -> None:
    for name, (spec, case) in cases().items():
        assert spec.name == case.name == name
        assert parse_attack({**spec.parameters.model_dump(), "kind": spec.kind, "name": name}) == spec


@pytest.mark.parametrize("name", SUITES)
def test_a_recipe_may_repeat_a_built_in_suite_and_not_redefine_it(name: str) -> None:
    suite = SUITES[name]
    same = {"attacks": list(suite.attacks), "protocols": list(suite.protocols), "axis": suite.axis}
    EvaluationSettings.model_validate({"suites": {name: same}, "suite": name})
    for other in ({"attacks": ["fgsm"] * 1 + list(suite.attacks)[1:] + ["bim3"]}, {"protocols": ["resample"]}):
        with pytest.raises(InvalidSettings, match=f"expected another name than '{name}'"):
            from_options(EvaluationSettings, {"suites": {name: same | other}})
    EvaluationSettings.model_validate({"suites": {f"my-{name}": same}})


@given(st.sampled_from(SOME), st.integers(1, 500))
def test_steps_are_those_of_every_attack_that_has_steps(name: str, steps: int) -> None:
    changed = with_steps(parse_attack(name), steps)
    assert changed == parse_attack(changed.name)  # the name says it
    if "steps" in ATTACKS[changed.kind].model_fields:
        assert mapping(name) | {"steps": steps} == mapping(changed.name)
    else:
        assert changed.name == name


def test_steps_in_names_of_ones_own() -> None:
    for name, changed in {"PGD40-slow": "PGD7-slow", "cw-search": "cw7-search", "slow": "slow"}.items():
        kind = "cw" if name.startswith("cw") else "pgd"
        spec = with_steps(parse_attack({"name": name, "kind": kind, "steps": 40}), 7)
        assert (spec.name, spec.parameters.model_dump()["steps"]) == (changed, 7)


def test_the_option_steps_reaches_the_whole_plan() -> None:
    keys = EvaluationSettings.model_validate({"suite": "paper", "steps": 7})
    assert [entry.attack.name for entry in keys.entries()] == [
        "fgsm", "pgd7", "cw7", "mifgsm7", "deepfool7", "autoattack"]


@pytest.mark.parametrize(("values", "which"), [
    ({"suite": "pgd-steps"}, "pgd10 and pgd20"), ({"suite": "adaptive"}, "pgd20 and pgd100"),
    ({"suite": "quick+paper"}, "pgd10 and pgd20"), ({"attacks": ["bim3", "bim9"]}, "bim3 and bim9"),
])
def test_steps_that_make_two_attacks_one_are_refused_in_one_line(values: dict[str, Any], which: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        from_options(EvaluationSettings, {**values, "steps": 5})
    assert str(caught.value) == f"--steps: 5 is not valid; expected none, as it makes {which} one attack"
