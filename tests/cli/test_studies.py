"""The studies as a user meets them: files, figures, going on, and one clear line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rnabench.report.record_file import read_record, read_study
from rnabench.scoring.outcome import bits
from tests.cli.test_cli import TRAIN, run
from tests.helpers import visible

SMALL = ["--n-examples", "12", "--batch-size", "6", "--device", "cpu"]
STUDIES = {
    "transfer-matrix": ["--draws", "2", "--attack", "pgd1"],
    "all-or-nothing": ["--draws", "2", "--attacks", "fgsm,difgsm1"],
    "path-difference": ["--pairs", "2", "--attack", "fgsm"],
    "smoothness": ["--points", "3", "--surfaces", "1", "--samples", "2", "--lengths", "2"],
    "gradient-similarity": [],
    "theory": ["--attack", "fgsm", "--lengths", "2"],
    "statistics-shift": ["--attack", "fgsm"],
    "batch-size": ["--attack", "fgsm", "--sizes", "2,12", "--modes", "running,batch"],
    "orthogonality": ["--attack", "fgsm", "--pairs", "2"],
    "corruptions": ["--corruptions", "contrast+snow", "--severities", "1,5", "--baseline", "in"],
    "convergence": ["--draws", "2", "--attack", "pgd1", "--most-samples", "2", "--most-steps", "2",
                    "--gradient-draws", "2"],
    "agreement": ["--draws", "2", "--attack", "fgsm", "--samples", "2"],
    "best-mixture": ["--attack", "fgsm", "--paths", "2", "--samples", "2"],
}
OF_DRAWS = ("path-difference", "convergence", "agreement", "best-mixture")  # which are of use on what draws


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    found = {"bn+in": folder / "rna", "bn": folder / "bn", "in": folder / "in"}
    for space, place in found.items():
        assert run(*TRAIN, "--space", space, "--out", str(place)) == 0
    return found


def chosen(study: str, runs: dict[str, Path]) -> list[str]:
    return [str(runs["bn+in"])] if study in OF_DRAWS else [str(runs["bn"]), str(runs["in"])]


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_a_study_leaves_a_record_tables_and_figures(study: str, runs: dict[str, Path], tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    command = [study, *chosen(study, runs), *SMALL, *STUDIES[study], "--out", str(tmp_path)]
    assert run(*command, "--max-minutes", "0.000001") == 3
    assert "same command" in capsys.readouterr().err
    assert run(*command) == 0
    shown = capsys.readouterr().out
    names = visible(tmp_path)
    assert names >= {f"{study}{ending}" for ending in (".json", ".csv", ".md", ".png", ".svg")}
    assert not any("progress" in name for name in names)
    assert all(name in shown for name in names)
    record = json.loads((tmp_path / f"{study}.json").read_text(), parse_constant=pytest.fail)  # no NaN
    assert record["study"] == study
    assert len(record["data"]["indices"]) == 12
    before = {name: (tmp_path / name).read_bytes() for name in names}
    assert run(*command) == 0  # drawn again from the record, to the byte
    assert {name: (tmp_path / name).read_bytes() for name in visible(tmp_path)} == before


def test_the_diagonal_on_the_command_line(runs: dict[str, Path], tmp_path: Path) -> None:
    both = ["--eps", "32/255", "--seed", "3", *SMALL]
    assert run("transfer-matrix", str(runs["bn+in"]), str(runs["bn"]), *both, "--attack", "pgd2", "--out",
               str(tmp_path / "matrix")) == 0
    assert run("attack", str(runs["bn+in"]), *both, "--attacks", "pgd2", "--protocols", "same-path", "--no-sanity",
               "--out", str(tmp_path / "attack")) == 0
    cell = read_study(tmp_path / "matrix" / "transfer-matrix.json")["results"]["cells"][0][0]
    result = read_record(tmp_path / "attack" / "record.json").results[1]
    assert cell["outcomes"]["correct"] == [bits(draw) for draw in result.outcomes.correct.array().T]
    assert (cell["accuracy"], cell["interval95"]) == (result.accuracy, result.interval95)


def test_paths_of_one_network_and_similarity_by_difference(runs: dict[str, Path], tmp_path: Path) -> None:
    rna = str(runs["bn+in"])
    assert run("gradient-similarity", rna, *SMALL, "--paths", "normalisers", "--out", str(tmp_path)) == 0
    record = read_study(tmp_path / "gradient-similarity.json")
    assert [subject["space"] for subject in record["results"]["subjects"]] == ["bn", "in"]
    assert run("gradient-similarity", rna, *SMALL, "--by-difference", "--pairs", "2", "--out", str(tmp_path)) == 0
    points = read_study(tmp_path / "gradient-similarity.json")["results"]["curves"][0]["points"]
    assert points[0]["mean"] == pytest.approx(1)


@pytest.mark.slow
def test_a_recipe_with_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text("name: tiny\ntitle: Tiny\ntable: []\n"
                    "train: {width: 2, steps: 1, epochs: 1, n_train: 64, n_holdout: 32, batch_size: 32}\n"
                    "models: {bn: {space: bn}, rna: {space: bn+in}, unused: {space: ln}}\n"
                    "figures:\n"
                    "  one: {study: transfer-matrix, title: The first, attack: fgsm, n_examples: 8, models: [bn, "
                    "rna]}\n"
                    "  two: {study: path-difference, attack: fgsm, n_examples: 8, pairs: 2, models: [rna]}\n")
    command = ["reproduce", str(file), "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "results")]
    assert run(*command) == 0
    names = visible(tmp_path / "results" / "tiny")
    assert names == {f"{stem}.{end}" for stem in ("one", "two") for end in ("json", "csv", "md", "png", "svg")}
    assert (tmp_path / "results" / "tiny" / "one.md").read_text().startswith("# The first\n")
    assert len(visible(tmp_path / "runs")) == 2
    before = {made.name: made.read_bytes() for made in (tmp_path / "results" / "tiny").glob("*.csv")}
    for name in names:
        (tmp_path / "results" / "tiny" / name).unlink()
    assert run(*command, "--jobs", "2") == 0  # with the networks that are there
    assert {made.name: made.read_bytes() for made in (tmp_path / "results" / "tiny").glob("*.csv")} == before
    (tmp_path / "results" / "tiny" / "two.csv").unlink()
    assert run(*command, "--only", "one") == 0
    assert not (tmp_path / "results" / "tiny" / "two.csv").exists()
    capsys.readouterr()
    assert run(*command, "--only", "one,tow") == 2
    said = capsys.readouterr().err
    assert "--only: 'tow' is not valid; expected one of one, two, model=NAME; did you mean 'two'?" in said
    assert run(*command, "--jobs", "0") == 2
    assert "--jobs: 0 is not valid; expected at least 1" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "expected"), [
    (["path-difference", "bn"], "a randomised network"),
    (["gradient-similarity", "bn"], "at least two networks"),
    (["theory", "bn", "bn+in", "--paths", "deployed"], "normalisers or a number"),
    (["theory", "bn", "in", "--eps", "0"], "more than 0"),
    (["transfer-matrix", "bn", "bn"], "every network once"),
    (["transfer-matrix", "bn", "in", "--attack", "pdg7"], "as in pgd20"),
    (["transfer-matrix", "bn", "in", "--paths", "some"], "deployed, normalisers, or a number"),
    (["smoothness", "bn", "--points", "4"], "odd"),
    (["statistics-shift", "in"], "keep running statistics of batches"),
    (["batch-size", "bn", "--sizes", "4,2"], "growing numbers"),
    (["orthogonality", "bn"], "a randomised network, or two networks"),
    (["corruptions", "bn", "--corruptions", "fog+jpeg-compresion"], "(for 'jpeg-compresion'); did you mean 'jpeg-"),
    (["corruptions", "bn", "in", "--baseline", "bm"], "--baseline: 'bm' is not valid; expected one of bn, in; did you"),
    (["attack", "bn", "--corruption", "gausian-noise:3"], "did you mean 'gaussian-noise'?"),
    (["attack", "bn", "--corruption", "fog"], "a severity from 1 to 5 behind the name, such as fog:3"),
    (["theory", "bn", "in", "--attack", "deepfool"], "within eps"),
    (["gradient-similarity", "bn+in", "--by-difference", "--paths", "2"], "'deployed' with it"),
    (["smoothness", "bn", "--radius", "0"], "greater than 0"),
    (["transfer-matrix", "nowhere", "in"], "run.json"),
])
def test_mistakes_get_one_line_and_leave_nothing(arguments: list[str], expected: str, runs: dict[str, Path],
                                                 tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    named = [str(runs.get(part, part)) for part in arguments]
    assert run(*named, *SMALL, "--out", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1
    assert expected in error
    assert not (tmp_path / "out").exists() or not visible(tmp_path / "out")


def test_a_study_that_cannot_be_done_fails_before_the_first_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                                                     ) -> None:
    file = tmp_path / "late.yaml"
    for figure, expected in (("{study: smoothness, indices: '99999'}", "indices: 99999"),
                             ("{study: transfer-matrix, attack: square9, norm: L2}", "square9")):
        head = "name: late\ntitle: Late\nmodels: {bn: {space: bn}}\ntable: []\n"
        file.write_text(f"{head}figures: {{a: {figure}}}\n")
        assert run("reproduce", str(file), "--runs", str(tmp_path / "runs")) == 2
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1
        assert "figures.a: " in error
        assert expected in error
    assert not (tmp_path / "runs").exists()


def test_figures_of_a_recipe_are_judged_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                                             ) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("name: bad\ntitle: Bad\nmodels: {bn: {space: bn}}\ntable: [bnn]\n"
                    "figures:\n"
                    "  a: {study: transfer}\n"
                    "  b: {study: path-difference}\n"
                    "  c: {study: smoothness, points: 4, modells: [bn]}\n"
                    "  bn: {study: smoothness}\n"
                    "  d: {study: theory}\n"
                    "  e: {study: smoothness, models: []}\n"
                    "  f: {study: smoothness, models: [[bn]]}\n"
                    "  g: {study: [theory]}\n"
                    "  quick: {study: smoothness}\n")
    assert run("reproduce", str(file), "--runs", str(tmp_path / "runs")) == 2
    lines = capsys.readouterr().err.splitlines()
    for key in ("table: 'bnn'", "figures.a.study: 'transfer'", "figures.b.models: 'bn'", "figures.c.points: 4",
                "figures.c.modells", "figures.bn: 'bn'", "figures.d.models: ['bn']", "figures.e.models: []",
                "figures.f.models: ['bn']", "figures.g.study: ['theory']", "figures.quick: 'quick'"):
        assert sum(key in line for line in lines) == 1, key
    assert not (tmp_path / "runs").exists()
