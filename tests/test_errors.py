"""One line for every mistake, in words of the user's and never of Python's."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnabench.errors import InvalidSettings, InvalidValue, RnabenchError, one_of, unknown
from rnabench.settings.base import from_options
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.recipe_loading import load_recipe
from rnabench.settings.training import TrainingSettings


def test_a_value_that_is_missing_is_said_to_be_missing() -> None:
    assert str(InvalidValue("--profile", None, one_of(["cpu", "smoke"]))) == (
        "--profile: missing; expected one of cpu, smoke")
    assert str(InvalidValue("--profile", "cpp", one_of(["cpu", "smoke"]), ["cpu", "smoke"])) == (
        "--profile: 'cpp' is not valid; expected one of cpu, smoke; did you mean 'cpu'?")
    assert unknown(None, ["cpu"]) == "missing; expected one of cpu"


@pytest.mark.parametrize(("kind", "values", "key"), [
    (TrainingSettings, {"dataset": "cifar10"}, "--data-dir"), (TrainingSettings, {"arch": None}, "--arch"),
    (TrainingSettings, {"epochs": None}, "--epochs"), (EvaluationSettings, {"eps": None}, "--eps"),
])
def test_so_are_options(kind: type[TrainingSettings] | type[EvaluationSettings], values: dict[str, object], key: str
                        ) -> None:
    with pytest.raises(InvalidSettings) as caught:
        from_options(kind, values)
    assert str(caught.value).startswith(f"{key}: missing; expected ")
    assert "None" not in str(caught.value)


@pytest.mark.parametrize("line", ["models:", "train: {epochs: }", "table: [ ]\nfigures: {a: {study: }}", "evaluate:",
                                  "figures: {a: {study: theory, models: }}", "base:", "title:"])
def test_and_empty_keys_of_a_recipe(line: str, tmp_path: Path) -> None:
    head = [part for part in ("name: tiny", "title: Tiny", "models: {bn: {space: bn}}")
            if part.partition(":")[0] != line.partition(":")[0]]
    (tmp_path / "tiny.yaml").write_text("\n".join([*head, line]))
    with pytest.raises(RnabenchError) as caught:
        load_recipe(tmp_path / "tiny.yaml")
    assert "None" not in str(caught.value)
