"""Deployed networks in jobs: one training, records of their own, and digests that only a deployment changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rnabench.errors import InvalidSettings, RnabenchError
from rnabench.evaluation.cost import Speed
from rnabench.jobs.evaluate import identity, settings_identity
from rnabench.jobs.plan import forecast
from rnabench.jobs.recipe_check import check
from rnabench.jobs.reproduce import Place, reproduce, target
from rnabench.jobs.study import settings_identity as study_settings_identity
from rnabench.jobs.study import short_labels
from rnabench.jobs.target import load_run
from rnabench.norm.layers import statistics_from
from rnabench.report.network import Deployed
from rnabench.report.record_file import read_record, read_study
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import StopRequest
from rnabench.settings.deployment import Deployment
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.recipe_loading import load_recipe
from rnabench.settings.studies import STUDIES
from tests.cli.test_cli import run
from tests.helpers import visible

TEXT = """\
name: tiny
title: Tiny
train: {width: 2, steps: 1, epochs: 1, n_train: 64, n_holdout: 16, batch_size: 32, space: bn, objective: standard}
models:
  P: {}
  B: {deploy: {statistics: batch}}
  PB: {deploy: {statistics: running+batch, average: 2}}
baseline: P
evaluate: {attacks: [fgsm], protocols: [paper], n_examples: 8, batch_size: 8, draws: 2, sanity: false}
figures:
  matrix: {study: transfer-matrix, models: [P, B, PB], attack: fgsm, n_examples: 8, batch_size: 8, draws: 2}
  similarity: {study: gradient-similarity, models: [PB], paths: normalisers, n_examples: 8, batch_size: 8}
"""
KEYS = EvaluationSettings(attacks=("fgsm",), n_examples=8, batch_size=8, sanity=False)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deployed")
    (folder / "tiny.yaml").write_text(TEXT)
    recipe = load_recipe(folder / "tiny.yaml")
    reproduce(recipe, recipe, place(folder), Silent(), StopRequest())
    return folder


@pytest.fixture(autouse=True)
def _not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnabench.jobs.durations.speed", lambda *_: Speed(1.0, 0.5))


def place(folder: Path) -> Place:
    return Place(folder / "runs", folder / "results", "cpu")


def trained(folder: Path) -> Path:
    (only,) = visible(folder / "runs")
    return folder / "runs" / only


def test_one_training_and_a_record_for_each(done: Path) -> None:
    records = {name: read_record(done / "results" / f"{name}.json") for name in ("P", "B", "PB")}
    assert len(visible(done / "runs")) == 1
    assert len({record.model.weights_sha256 for record in records.values()}) == 1
    assert len({record.digest for record in records.values()}) == 3
    assert "deployed" not in records["P"].model.content()
    assert records["B"].model.content()["deployed"] == {"statistics": "batch"}
    model = records["PB"].model
    assert model.content()["deployed"] == {"statistics": "running+batch", "average": 2}
    assert (model.randomised, model.paths, model.space) == (True, str(2**40), "bn")
    assert (records["P"].model.randomised, records["P"].model.paths) == (False, "1")


def test_the_network_is_used_so(done: Path) -> None:
    recipe, images = load_recipe(done / "tiny.yaml"), torch.rand(4, 3, 32, 32)
    plain, batch = (target(recipe, place(done), name, KEYS).module for name in ("P", "B"))
    with statistics_from(plain, "batch"):
        expected = plain(images)
    assert torch.equal(batch(images), expected)
    assert not torch.equal(batch(images), plain(images))


def test_studies_tell_them_apart_and_are_drawn(done: Path) -> None:
    matrix, similarity = (read_study(done / "results" / f"{name}.json") for name in ("matrix", "similarity"))
    assert [subject["label"] for subject in matrix["results"]["subjects"]] == ["P", "B", "PB"]
    assert [model.get("deployed") for model in matrix["models"]] == [
        None, {"statistics": "batch"}, {"statistics": "running+batch", "average": 2}]
    assert [subject["space"] for subject in similarity["results"]["subjects"]] == ["running", "batch"]
    for study, record in (("transfer-matrix", matrix), ("gradient-similarity", similarity)):
        assert STUDIES[study].tables(record)
        assert STUDIES[study].figures(record)
        STUDIES[study].findings(record)


def test_nothing_is_left_and_nothing_is_done_twice(done: Path) -> None:
    recipe = load_recipe(done / "tiny.yaml")
    pieces = forecast(recipe, place(done))
    assert {piece.state for piece in pieces} == {"done"}
    assert [piece.kind for piece in pieces].count("train") == 1
    to_do = forecast(recipe, Place(done / "other", done / "nothing", "cpu"))
    assert all(piece.seconds > 0 for piece in to_do)


def test_only_what_is_not_the_default_counts(done: Path) -> None:
    plain, said, batch = (load_run(trained(done), {}, KEYS, "cpu", **keys) for keys in (  # type: ignore[arg-type]
        {}, {"deployment": Deployment(statistics="own")}, {"deployment": Deployment(statistics="batch")}))
    study = STUDIES["transfer-matrix"]()
    assert plain.description == said.description
    assert identity(plain, KEYS) == identity(said, KEYS)
    assert settings_identity(plain, KEYS) != settings_identity(batch, KEYS)
    for each in (plain, said, batch):
        each.description["label"] = "x"
    identities = [study_settings_identity([each], study) for each in (plain, said, batch)]
    assert identities[0] == identities[1] != identities[2]


def test_labels_say_how_a_network_is_used(done: Path) -> None:
    uses = [Deployment(), Deployment(statistics="batch"), Deployment(statistics="running+batch", average=2)]
    targets = [load_run(trained(done), {}, KEYS, "cpu", deployment=use) for use in uses]
    labels = [each.description["label"] for each in short_labels(targets)]
    assert labels == ["bn", "bn, statistics batch", "bn, statistics running+batch, average 2"]
    assert targets[1].description["label"] == f"{trained(done).name}, statistics batch"
    twice = short_labels([targets[1], targets[1]])
    assert twice[0].description["label"] == targets[1].description["label"]


def test_a_record_has_a_place_for_all_that_a_deployment_may_change() -> None:
    stored = {name: field.default for name, field in Deployed.model_fields.items()}
    assert stored == {name: field.default for name, field in Deployment.model_fields.items()}
    changed = Deployment(statistics="running+batch", average=2, branch="clean+adv").changes()
    assert set(changed) == set(stored)
    assert Deployed.model_validate(changed).model_dump() == changed


@pytest.mark.parametrize(("old", "new", "words"), [
    ("B: {deploy: {statistics: batch}}", "B: {deploy: {branch: adv}}", "models.B: branch: 'adv' is not valid; expected "
     "own: no normaliser of resnet18 with space bn has branches"),
    ("B: {deploy: {statistics: batch}}", "B: {objective: mbn}", "models.B: --objective: 'mbn' is not valid; expected a "
     "network with mixture BNs"),
    ("B: {deploy: {statistics: batch}}", "B: {space: gn2, frozen_epochs: 1}", "models.B: --frozen-epochs: 1 is not "
     "valid; expected 0"),
    ("B: {deploy", "B: {space: gn2, deploy", "models.B: statistics: 'batch' is not valid; expected own: no normaliser "
     "of resnet18 with space gn2 has"),
    ("statistics: running+batch, ", "", "models.PB: average: 2 is not valid; expected 1: resnet18 with space bn has a "
     "single path"),
])
def test_what_a_network_cannot_have_is_told_before_it_is_trained(old: str, new: str, words: str, tmp_path: Path
                                                                 ) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(TEXT.partition("figures:")[0].replace(old, new))
    with pytest.raises(RnabenchError, match=words):
        check(load_recipe(file), "cpu")


SMALL = ["--n-examples", "8", "--batch-size", "8", "--attacks", "fgsm", "--no-sanity", "--device", "cpu"]


def test_on_the_command_line(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = str(trained(done))
    assert run("attack", network, *SMALL, "--protocols", "eot:2", "--statistics", "batch+running", "--average", "2",
               "--out", str(tmp_path / "a")) == 0
    shown = capsys.readouterr().out
    assert "statistics batch+running, average 2" in shown
    record = json.loads((tmp_path / "a" / "record.json").read_text())
    assert record["model"]["deployed"] == {"statistics": "batch+running", "average": 2}
    assert run("report", str(tmp_path / "a"), "--out", str(tmp_path / "page.html")) == 0
    assert "statistics batch+running, average 2" in (tmp_path / "page.html").read_text()
    assert run("gradient-similarity", network, "--n-examples", "8", "--statistics", "running+batch", "--paths",
               "normalisers", "--device", "cpu", "--out", str(tmp_path / "s")) == 0
    labels = [each["label"] for each in read_study(tmp_path / "s" / "gradient-similarity.json")["results"]["subjects"]]
    assert labels == [f"bn, statistics running+batch: {name}" for name in ("running", "batch")]
    assert run("describe", "--space", "bn", "--dataset", "digits", "--statistics", "running+batch") == 0
    assert "deployed, statistics running+batch: choice layers: 20, paths: 1,048,576" in capsys.readouterr().out


@pytest.mark.parametrize(("options", "words"), [
    (["--average", "2"], "error: average: 2 is not valid; expected 1: resnet18 with space bn has a single path"),
    (["--statistics", "bach"], "error: --statistics: 'bach' is not valid; expected own, or one of"),
    (["--statistics", "batch", "--average", "x"], "error: --average: 'x' is not valid; expected an integer"),
])
def test_wrong_options(options: list[str], words: str, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("attack", str(trained(done)), *SMALL, *options) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_foreign_network_comes_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("attack", "--model", "tests.cli.models:linear", "--statistics", "batch", *SMALL) == 2
    assert "error: --statistics: 'batch' is not valid; expected a run folder" in capsys.readouterr().err


def test_a_recipe_that_is_wrong_in_it_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(TEXT.replace("statistics: batch", "statistics: bach").replace("average: 2", "average: 0"))
    with pytest.raises(InvalidSettings) as caught:
        load_recipe(file)
    assert len(str(caught.value).splitlines()) == 2
