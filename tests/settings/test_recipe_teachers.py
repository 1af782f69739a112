"""Teachers in recipes: a model learns from another one, which is trained although nothing else is asked of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnabench.errors import InvalidSettings
from rnabench.settings.recipe import Recipe
from rnabench.settings.recipe_loading import load_recipe

TEXT = """\
name: x
title: X
train: {width: 8, objective: standard}
models:
  SORS: {space: gn2+ln, objective: sors, teacher: ResNet, seeds: [3, 5]}
  ResNet: {space: gn2, seeds: [0, 1], width: 16}
  RS: {space: gn2+ln, objective: sors, orthogonality: 0}
  spare: {space: bn}
table: [SORS, RS]
evaluate: {attacks: [fgsm], protocols: [paper]}
profiles: {one: {}, small: {models: {ResNet: {width: 4}}}}
"""


def recipe(folder: Path, text: str = TEXT, profile: str = "one") -> Recipe:
    (folder / "x.yaml").write_text(text)
    return load_recipe(folder / "x.yaml", profile)


def test_a_teacher_is_a_models_first_training_and_trained_with_the_others(tmp_path: Path) -> None:
    found = recipe(tmp_path)
    assert list(found.models) == ["SORS.s3", "SORS.s5", "ResNet.s0", "RS"]
    assert found.table == ("SORS.s3", "SORS.s5", "RS")
    teacher = found.models["ResNet.s0"]
    assert [found.models[name].teacher for name in found.table] == [teacher, teacher, None]
    assert list(found.only("model=SORS.s5").models) == ["SORS.s5", "ResNet.s0"]
    assert list(found.only("model=RS").models) == ["RS"]
    assert found.model_of("ResNet.s0") == "ResNet"


def test_it_decides_what_its_students_are(tmp_path: Path) -> None:
    """Under a profile too, and not by where its data set lies."""
    whole, small = (recipe(tmp_path, profile=profile).models for profile in ("one", "small"))
    assert small["SORS.s3"].teacher == small["ResNet.s0"] != whole["ResNet.s0"]
    assert small["SORS.s3"].digest() != whole["SORS.s3"].digest()
    assert small["RS"].digest() == whole["RS"].digest()
    elsewhere = {"teacher": whole["ResNet.s0"].model_copy(update={"data_dir": Path("elsewhere")})}
    assert whole["SORS.s3"].model_copy(update=elsewhere).digest() == whole["SORS.s3"].digest()


def test_a_teacher_may_have_learnt_itself(tmp_path: Path) -> None:
    text = TEXT.replace("spare: {space: bn}", "spare: {space: bn, objective: sors, teacher: ResNet}").replace(
        "teacher: ResNet, seeds", "teacher: spare, seeds")
    found = recipe(tmp_path, text)
    assert list(found.models) == ["SORS.s3", "SORS.s5", "ResNet.s0", "RS", "spare"]
    assert found.models["SORS.s3"].teachers == (found.models["spare"], found.models["ResNet.s0"])


@pytest.mark.parametrize(("old", "new", "said"), [
    ("teacher: ResNet", "teacher: ResNte", "models.SORS.teacher: 'ResNte' is not valid; expected one of ResNet, RS, "
     "spare; did you mean 'ResNet'?"),
    ("teacher: ResNet", "teacher: SORS", "models.SORS.teacher: 'SORS' is not valid; expected a model that does not "
     "learn from 'SORS' itself"),
    ("{space: bn}", "{space: bn, objective: sors, teacher: spare}", "models.spare.teacher: 'spare' is not valid"),
    ("orthogonality: 0}", "teacher: SORS}\n  other: {space: in}", ""),
    ("teacher: ResNet", "teacher: {space: bn}", "models.SORS.teacher: {'space': 'bn'} is not valid; expected one of"),
    ("teacher: ResNet", "teacher: [ResNet]", "models.SORS.teacher: ['ResNet'] is not valid; expected one of"),
    ("ResNet: {space", "ResNet: {dataset: digits16, space", "models.SORS.teacher: 'digits16-resnet18-gn2' is not "
     "valid; expected a network for data set 'digits': this is a teacher of another data set, 'digits16'"),
    ("{space: bn}", "{space: bn, teacher: ResNet}", "models.spare.teacher: 'digits-resnet18-gn2' is not valid; "
     "expected objective 'sors' with it, not 'standard'"),
    ("{space: bn}", "{space: bn, orthogonality: 3}", "models.spare.orthogonality: 3 is not valid; expected objective "
     "'sors' with it, not 'standard'"),
])
def test_a_mistake_is_one_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = TEXT.replace(old, new, 1)
    if not said:
        assert len(recipe(tmp_path, text).models) == 4
        return
    with pytest.raises(InvalidSettings) as raised:
        recipe(tmp_path, text)
    (line,) = str(raised.value).splitlines()
    assert line.startswith(f"{tmp_path / 'x.yaml'}: {said}")


def test_a_circle_is_told_once(tmp_path: Path) -> None:
    text = TEXT.replace("width: 16}", "width: 16, objective: sors, teacher: spare}").replace(
        "{space: bn}", "{space: bn, objective: sors, teacher: SORS}")
    with pytest.raises(InvalidSettings, match=r"^[^\n]*models\.spare\.teacher: 'SORS' is not valid[^\n]*$"):
        recipe(tmp_path, text)
