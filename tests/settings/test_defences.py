"""The grammar of defences, and what settings make of it."""

from __future__ import annotations

import pytest

from rnabench.errors import InvalidSettings, InvalidValue
from rnabench.jobs.train import run_name
from rnabench.report.published import is_row
from rnabench.settings.base import from_options
from rnabench.settings.parts import DEFENCE_KINDS, NONE, SEEDS, defences, options_of_defence, spelled
from rnabench.settings.recipe import Defined
from rnabench.settings.training import TrainingSettings


@pytest.mark.parametrize("name", [*DEFENCE_KINDS, "ensemble16", "rse0.1", "rpf0.5", "sap2", "resize-pad0.75"])
def test_what_is_spelled_is_read_again(name: str) -> None:
    assert spelled(defences(name)) == name
    assert defences(f" {name.upper()} ") == defences(name)
    number = DEFENCE_KINDS[defences(name)[0].kind].number
    if name in DEFENCE_KINDS and number is not None:
        assert defences(f"{name}{number.default}") == defences(name)


@pytest.mark.parametrize(("text", "line"), [
    ("input-nois0.2", r"'input-nois0.2' is none of them\); did you mean 'input-noise0.2'\?"),
    ("smothing", r"did you mean 'smoothing'\?"),
    ("rse0", r"expected a number behind 'rse' \(.* above 0 and at most 100\), as in rse0.2; did you mean 'rse'\?"),
    ("rpf1", r"above 0 and at most 0.99\), as in rpf0.75"),
    ("ensemble2.5", r"how many networks there are, whole, above 0 and at most 16\), as in ensemble3"),
    ("jpeg75", r"\('jpeg75' is none of them\); did you mean 'jpeg'\?"),
    ("rse+rpf", "expected one defence, such as rpf"),
    ("rse+rse", r"expected each once \('rse' stands twice\)"),
    ("", r"\('' is none of them\)"),
])
def test_a_bad_value_is_one_line(text: str, line: str) -> None:
    with pytest.raises(InvalidValue, match=line):
        defences(text)
    with pytest.raises(InvalidSettings, match=line) as raised:
        from_options(TrainingSettings, {"defence": text})
    assert len(str(raised.value).splitlines()) == 1
    assert "joined by" not in str(raised.value)


def test_settings_without_one_are_those_of_before() -> None:
    plain, said = from_options(TrainingSettings, {}), from_options(TrainingSettings, {"defence": "None"})
    assert said.digest() == plain.digest()
    assert (run_name(said), str(said)) == (run_name(plain), str(plain))
    assert "defence" not in plain.identity()
    assert defences(NONE) == ()


def test_a_defence_is_random_and_is_told() -> None:
    made = from_options(TrainingSettings, {"space": "bn", "defence": "rse0.20"})
    assert (made.defence, made.options) == ("rse", SEEDS)
    assert str(made) == "digits-resnet18-bn-rse"
    assert run_name(made).startswith(str(made))
    assert made.digest() != from_options(TrainingSettings, {"space": "bn"}).digest()
    assert [options_of_defence(name) for name in ("none", "ensemble1", "ensemble", "jpeg")] == [1, 1, 3, 4]


def test_published_rows_are_of_networks_without() -> None:
    row = dict.fromkeys(["statistics", "average", "operators", "teacher", "training", "randomization"], "")
    row |= {"dataset": "cifar10", "arch": "resnet18", "space": "bn"}
    defined = {"dataset": "cifar10", "space": "bn"}
    assert is_row(row, Defined(**defined))
    assert not is_row(row, Defined(**defined, defence="rpf"))
    assert is_row(row | {"defence": "rpf0.75"}, Defined(**defined, defence="rpf"))
