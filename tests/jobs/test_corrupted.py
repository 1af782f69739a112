"""Evaluations on corrupted images: another record, which says so, and nothing new in one that is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnabench.jobs.evaluate import identity
from rnabench.jobs.target import load_run
from rnabench.report.record_file import read_record
from rnabench.report.study import is_cifar10
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.recipe_loading import load_recipe
from tests.cli.test_cli import ATTACK, TRAIN, run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert run(*TRAIN, "--space", "bn", "--dataset", "digits16", "--out", str(folder)) == 0
    return folder


def test_a_record_says_that_its_images_were_corrupted(trained: Path, tmp_path: Path) -> None:
    for name, options in (("clean", []), ("foggy", ["--corruption", "fog:3"]),
                          ("other", ["--corruption", "fog:3", "--seed", "1"])):
        assert run("attack", str(trained), "--attacks", "fgsm", *ATTACK, *options, "--out", str(tmp_path / name)) == 0
    clean, foggy, other = (read_record(tmp_path / name / "record.json") for name in ("clean", "foggy", "other"))
    assert (clean.data.name, foggy.data.name) == ("digits16", "digits16, fog:3")
    assert foggy.evaluation.content()["corruption"] == "fog:3"
    assert "corruption" not in clean.evaluation.content()
    assert len({record.data.fingerprint for record in (clean, foggy, other)}) == 3
    assert len({record.digest for record in (clean, foggy, other)}) == 3
    assert clean.data.indices == foggy.data.indices
    assert "digits16, fog:3" in (tmp_path / "foggy" / "table.md").read_text()


def test_without_a_corruption_a_digest_knows_nothing_of_it(trained: Path) -> None:
    """The settings of a record are as before there were corruptions."""
    asked = EvaluationSettings(n_examples=8)
    digests = {identity(load_run(trained, {}, keys, "cpu"), keys)
               for keys in (asked, EvaluationSettings(n_examples=8, corruption=None))}
    assert len(digests) == 1
    corrupted = EvaluationSettings(n_examples=8, corruption="fog:1")
    assert identity(load_run(trained, {}, corrupted, "cpu"), corrupted) not in digests


def test_a_recipe_may_corrupt_and_compare(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("name: x\ntitle: X\nmodels: {bn: {space: bn}, in: {space: in}}\n"
                    "evaluate: {corruption: 'snow:2'}\n"
                    "figures: {c: {study: corruptions, corruptions: [fog, snow], severities: [1, 3], baseline: in}}\n")
    recipe = load_recipe(file)
    assert recipe.evaluate is not None
    assert recipe.evaluate.corruption == "snow:2"
    assert recipe.figures["c"].study.model_dump()["corruptions"] == ["fog", "snow"]


def test_a_recipe_with_what_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("name: x\ntitle: X\nmodels: {bn: {space: bn}, in: {space: in}}\n"
                    "evaluate: {corruption: 'snwo:2'}\n"
                    "figures: {c: {study: corruptions, corruptions: [fgo], baseline: im}}\n")
    assert run("reproduce", str(file)) == 2
    said = capsys.readouterr().err
    for part in ("evaluate.corruption: 'snwo:2' is not valid; expected one of brightness,", "did you mean 'snow'?",
                 "figures.c.corruptions: ['fgo'] is not valid; expected one of", "did you mean 'fog'?"):
        assert part in said
    file.write_text("name: x\ntitle: X\nmodels: {bn: {space: bn}, in: {space: in}}\n"
                    "figures: {c: {study: corruptions, baseline: im}}\n")
    assert run("reproduce", str(file)) == 2
    said = capsys.readouterr().err
    assert "figures.c.baseline: 'im' is not valid; expected one of bn, in; did you mean 'in'?" in said


@pytest.mark.parametrize(("name", "is_it"), [("cifar10", True), ("cifar10-jpeg", True), ("cifar10, fog:3", False),
                                             ("cifar10-jpeg, fog:3", False), ("cifar100", False)])
def test_published_numbers_stand_beside_clean_images_only(name: str, is_it: bool) -> None:
    assert is_cifar10(name) == is_it
