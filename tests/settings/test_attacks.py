"""Attacks and suites as data: names say parameters, and a wrong name is told with one that is right."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnabench.attack.apgd import APGD
from rnabench.attack.attack import ready
from rnabench.attack.gradient import BIM, FGSM, MIFGSM, PGD
from rnabench.attack.threat import L2, Linf
from rnabench.errors import InvalidValue, RnabenchError
from rnabench.evaluation.attacker import parameters
from rnabench.settings.attacks import ATTACKS, at_eps, parse_attack, recorded, resolved
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.protocols import parse_protocol
from rnabench.settings.suites import SUITES, Suite, suites


@pytest.mark.parametrize(("name", "kind", "said", "eps"), [
    ("fgsm", "fgsm", {}, None),
    ("bim10", "bim", {"steps": 10}, None),
    ("pgd20", "pgd", {"steps": 20, "loss": "ce", "restarts": 1}, None),
    ("pgd20-margin", "pgd", {"steps": 20, "loss": "margin"}, None),
    ("pgd20x5", "pgd", {"steps": 20, "restarts": 5}, None),
    ("pgd7-dlrx3@0.25", "pgd", {"steps": 7, "loss": "dlr", "restarts": 3}, 0.25),
    ("pgd20@4/255", "pgd", {"steps": 20}, 4 / 255),
    ("mifgsm", "mifgsm", {"steps": 5, "decay": 1.0}, None),
    ("mifgsm10", "mifgsm", {"steps": 10}, None),
    ("apgd", "apgd", {"steps": 100, "loss": "ce"}, None),
    ("apgd50-dlr", "apgd", {"steps": 50, "loss": "dlr"}, None),
    ("apgdx5", "apgd", {"steps": 100, "restarts": 5}, None),
    ("apgd-tx5", "apgd", {"loss": "t", "restarts": 5}, None),
    ("apgd-t", "apgd", {"steps": 100, "loss": "t", "targets": 9}, None),
    ("square500", "square", {"queries": 500}, None),
    ("cw", "cw", {"searches": 0}, None),
    ("cw200", "cw", {"steps": 200}, None),
    ("deepfool", "deepfool", {"overshoot": 0.02}, None),
    ("autoattack", "autoattack", {}, None),
])
def test_a_name_says_its_parameters(name: str, kind: str, said: dict[str, Any], eps: float | None) -> None:
    spec = parse_attack(name)
    assert (spec.name, spec.kind) == (name, kind)
    assert spec.eps == pytest.approx(eps)
    found = spec.parameters.model_dump()
    assert {key: found[key] for key in said} == said
    # what the name does not speak of is as by default
    changed = {key for key, value in ATTACKS[kind]().model_dump().items() if found[key] != value}
    assert changed <= set(said)


@given(st.integers(1, 999), st.sampled_from(["ce", "margin", "dlr"]), st.integers(1, 99), st.integers(1, 254))
def test_a_name_and_its_mapping_are_the_same_attack(steps: int, loss: str, restarts: int, eps: int) -> None:
    by_name = parse_attack(f"pgd{steps}-{loss}x{restarts}@{eps}/255")
    mapping = {"kind": "pgd", "steps": steps, "loss": loss, "restarts": restarts, "eps": f"{eps}/255"}
    by_mapping = parse_attack({**mapping, "name": by_name.name})
    assert by_mapping == by_name
    assert parse_attack(mapping).name == "pgd"
    assert mapping["kind"] == "pgd"  # the caller's mapping is left as it was


@given(st.integers(1, 254))
def test_at_eps_is_the_inverse_of_the_names_eps(eps: int) -> None:
    made = at_eps(parse_attack("pgd20"), eps / 255)
    assert made.name == f"pgd20@{eps}/255"
    assert made == parse_attack(made.name)


def test_a_mapping_may_have_a_name_of_its_own_and_steps_of_its_own_size() -> None:
    spec = parse_attack({"kind": "pgd", "name": "slow", "steps": 40, "step_size": "1/255"})
    assert spec.name == "slow"
    assert resolved(spec, 8 / 255, 2 / 255)["step_size"] == pytest.approx(1 / 255)


@pytest.mark.parametrize(("bad", "near"), [
    ("pgd", "did you mean 'pgd"), ("bim", "did you mean 'bim10'"),
    ("pdg20", "'pgd20'"), ("deepfol", "'deepfool'"), ("sqare", "'square'"),
    ("autoatack", "'autoattack'"), ("migfsm", "'mifgsm'"), ("PGD20", "'pgd20'"), ("apgd_ce", "'apgd-ce'"),
    ("fgsm10", "fgsm: none"), ("fgsm-dlr", "fgsm: none"), ("cwx3", "searches"), ("pgd20-magin", "'margin'"),
    ("pgd20-t", "'margin'"), ("apgd-foo", "'dlr'"), ("pgd0", "1"), ("pgd20x0", "1"), ("pgd20@8", "'8/255'"),
    ("pgd20@x", "pgd20@4/255"), ("pgd20@1/0", "8/255"), ("", "pgd20"), ("pgd20 ", "'pgd20'"),
    ({"kind": "cw", "cc": 1}, "'c'"), ({"kind": "pgd", "step": 3}, "'steps'"), ({"kind": "cwx"}, "cw"),
    ({"steps": 3}, "pgd"), ({"kind": "pgd", "eps": "x"}, "8/255"), ({"kind": "pgd", "name": "natural"}, "not natural"),
    ({"kind": ["pgd"]}, "a kind"), ({"kind": "pgd", "name": "a b"}, "letters"),
    ({"kind": "cw", "c": 0}, "greater than 0"), ({"kind": "pgd", "steps": "3"}, "integer"),
])
def test_a_wrong_name_is_told_with_what_is_right(bad: str | Mapping[str, Any], near: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        parse_attack(bad)
    assert near in str(raised.value).split("is not valid; expected ")[1]


@pytest.mark.parametrize("name", SUITES)
def test_built_in_suites_are_valid_and_name_nothing_twice(name: str) -> None:
    suite = SUITES[name]
    names = [parse_attack(attack).name for attack in suite.attacks]
    assert len(set(names)) == len(names) > 0
    protocols = [parse_protocol(protocol).name for protocol in suite.protocols]
    assert len(set(protocols)) == len(protocols) > 0


@pytest.mark.parametrize("kind", list(ATTACKS))
def test_an_attack_declares_what_it_is(kind: str) -> None:
    attack = ATTACKS[kind]
    assert attack.summary
    assert {"Linf", "L2"} >= set(attack.norms) > set()
    assert kind in {parse_attack(name).kind for name in attack.names or (kind,)}
    assert attack().losses <= {"ce", "margin", "dlr"}
    assert sum(attack().passes(True, 10)) > 0
    has_twin = attack().torchattacks("Linf", 8 / 255, 10, 0) is not None or attack().pyautoattack() is not None
    assert all(case.name.startswith(kind) for case in attack.crosschecks)
    assert bool(attack.crosschecks) or not has_twin


@pytest.mark.parametrize("kind", list(ATTACKS))
def test_a_record_says_which_attack_it_was(kind: str) -> None:
    spec = parse_attack({"kind": kind})
    attack, _ = spec.settled(8 / 255, 2 / 255)
    assert recorded(resolved(spec, 8 / 255, 2 / 255) | {"backend": "native"}) == attack
    assert recorded({"kind": "somebody-elses", "steps": 3}) is None
    assert recorded({}) is None


@pytest.mark.parametrize("name", ["pgd2", "my-attack", "natural", "transfer", "PGD", ""])
def test_an_attack_cannot_have_a_name_that_names_could_not_be_read_by(name: str) -> None:
    with pytest.raises(RnabenchError, match="cannot be registered"):
        ATTACKS.add(name, PGD)


@pytest.mark.parametrize(("name", "step_size", "eps"), [
    ("pgd20", 3 / 255, 8 / 255), ("bim10", 3 / 255, 8 / 255), ("mifgsm", 3 / 255, 8 / 255),
    ("pgd20@16/255", 6 / 255, 16 / 255), ("mifgsm@4/255", 1.5 / 255, 4 / 255), ("pgd20@0", 0.0, 0.0),
    ("fgsm", 8 / 255, 8 / 255), ("fgsm@2/255", 2 / 255, 2 / 255),
])
def test_resolved_fills_in_the_step_size(name: str, step_size: float, eps: float) -> None:
    values = resolved(parse_attack(name), 8 / 255, 3 / 255)
    assert values["step_size"] == pytest.approx(step_size)
    assert values["eps"] == pytest.approx(eps)


@pytest.mark.parametrize("kind", list(ATTACKS))
def test_resolved_has_every_parameter_and_only_bounded_attacks_have_an_eps(kind: str) -> None:
    spec = parse_attack({"kind": kind})
    values = resolved(spec, 8 / 255, 2 / 255)
    assert values["kind"] == kind
    assert ("eps" in values) == spec.bounded == (kind not in ("cw", "dag", "dcw", "deepfool"))
    assert None not in values.values()
    unused = {"targets"} if kind == "apgd" else set()  # a targeted attack's only
    assert set(ATTACKS[kind].model_fields) - unused <= set(values)


def test_what_runs_has_the_resolved_parameters() -> None:
    def ran(name: str, norm: str = "Linf") -> tuple[Any, Any]:
        return ready(parse_attack(name), norm, 8 / 255, 2 / 255)

    assert ran("fgsm") == (FGSM(), Linf(8 / 255))
    assert ran("bim7") == (BIM(steps=7, step_size=2 / 255), Linf(8 / 255))
    assert ran("pgd9-dlrx2") == (PGD(steps=9, step_size=2 / 255, restarts=2, loss="dlr"), Linf(8 / 255))
    assert ran("pgd9@16/255", "L2") == (PGD(steps=9, step_size=4 / 255), L2(16 / 255))
    assert ran("mifgsm") == (MIFGSM(steps=5, step_size=2 / 255, decay=1.0), Linf(8 / 255))
    assert ran("apgd30-margin") == (APGD(steps=30, loss="margin"), Linf(8 / 255))
    assert ran("apgd-t")[0].targets == 9
    assert ran("cw")[1].eps == math.inf
    with pytest.raises(InvalidValue, match="Linf, L2"):
        ran("fgsm", "L3")
    with pytest.raises(InvalidValue, match="another attack for norm L2: square is for Linf"):
        parameters(parse_attack("square"), EvaluationSettings(norm="L2", eps=0.5), 0)


def test_suites_join_by_plus() -> None:
    assert suites("paper+adaptive") == [("paper", SUITES["paper"]), ("adaptive", SUITES["adaptive"])]
    assert suites("quick") == [("quick", SUITES["quick"])]
    mine = Suite("mine", ("fgsm",), ("paper",))
    assert suites("mine+paper", {"mine": mine})[0] == ("mine", mine)


@pytest.mark.parametrize(("bad", "near"), [("adaptve", "'adaptive'"), ("paper+quik", "'quick'"), ("papr+x", "'paper'"),
                                           ("mne", "'mine'")])
def test_an_unknown_suite_suggests_the_nearest(bad: str, near: str) -> None:
    with pytest.raises(InvalidValue, match=f"did you mean {near}"):
        suites(bad, {"mine": Suite("mine", ("fgsm",), ("paper",))})


@pytest.mark.parametrize("module", ["rnabench.settings.attacks", "rnabench.settings.suites"])
def test_names_are_checked_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_asking_for_an_attack_loads_no_attack_library() -> None:
    code = ("import sys; from rnabench.settings.attacks import ATTACKS; assert len(list(ATTACKS)) > 8\n"
            "sys.exit(', '.join({'torchattacks', 'pyautoattack'} & set(sys.modules)) or None)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
