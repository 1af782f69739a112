"""Super-networks as a user meets them: trained, described, attacked, exported and studied as any other network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rnabench import load_model
from rnabench.jobs.runs import list_runs
from rnabench.jobs.train import run_name
from rnabench.report.record_file import read_study
from rnabench.settings.training import TrainingSettings
from tests.cli.test_cli import TRAIN, run
from tests.cli.test_studies import SMALL, STUDIES
from tests.helpers import visible

NETWORKS = {"rs-resnet18": ["--space", "gn2"], "rs-lenet5": ["--width", "3", "--operators", "2"]}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for arch, options in NETWORKS.items():
        assert run(*TRAIN, "--dataset", "digits16", "--arch", arch, *options, "--out", str(folder / arch)) == 0
    return {arch: folder / arch for arch in NETWORKS}


def test_a_run_says_which_operators_it_has(runs: dict[str, Path]) -> None:
    described = [json.loads((folder / "run.json").read_text())["model"] for folder in runs.values()]
    assert [each["operators"] for each in described] == [4, 2]
    assert [each["paths"] for each in described] == [str(12**8), str(2**5)]
    assert [each["space"] for each in described] == ["gn2", "none"]
    for arch, folder in runs.items():
        assert load_model(folder).space.options[0] == (("a", "b") if arch == "rs-lenet5" else (
            "3x3a", "3x3b", "3x3c", "3x3d"))
    names = [run_name(TrainingSettings(arch="rs-lenet5", operators=number)) for number in (None, 2, 3)]
    assert [name.rpartition("-")[0] for name in names] == [
        "digits-rs-lenet5-none", "digits-rs-lenet5-m2-none", "digits-rs-lenet5-m3-none"]


@pytest.mark.parametrize(("change", "expected"), [
    ({"operators": 3}, "holds weights of another network; expected rs-resnet18 with 3 operators and space gn2"),
    ({"space": "gn2+ln"}, "expected rs-resnet18 with 4 operators and space gn2+ln"),
    ({"operators": 0}, "operators: 0 is not valid"), ({"operators": "four"}, "operators: 'four' is not valid"),
])
def test_weights_of_other_operators_are_refused(change: dict[str, object], expected: str, runs: dict[str, Path],
                                                tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for file in ("run.json", "model.safetensors"):
        (folder / file).write_bytes((runs["rs-resnet18"] / file).read_bytes())
    described = json.loads((folder / "run.json").read_text())
    described["model"] |= change
    (folder / "run.json").write_text(json.dumps(described))
    capsys.readouterr()
    assert run("attack", str(folder), *SMALL) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line


@pytest.mark.parametrize("arch", NETWORKS)
def test_attacked_listed_and_exported(arch: str, runs: dict[str, Path], tmp_path: Path) -> None:
    assert run("attack", str(runs[arch]), *SMALL, "--attacks", "pgd1", "--draws", "2", "--protocols", "paper,eot:2",
               "--no-sanity", "--out", str(tmp_path / "attack")) == 0
    sizes = "width 2 operators 4" if arch == "rs-resnet18" else "width 3 operators 2"
    assert list_runs(runs[arch])[0][1] == f"{arch} {sizes}"
    file, model = tmp_path / "one.pt", load_model(runs[arch])
    path = model.space.sample(torch.Generator().manual_seed(0))
    assert run("export", str(runs[arch]), "--format", "torchscript", "--path", str(path), "--out", str(file)) == 0
    images = torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(torch.jit.load(file)(images), model.on(path)(images))  # type: ignore[no-untyped-call]


def test_without_running_statistics_no_shift_is_measured(runs: dict[str, Path], tmp_path: Path,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    assert run("statistics-shift", *map(str, runs.values()), *SMALL, "--out", str(tmp_path / "shift")) == 2
    assert "running statistics" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "shift" / "statistics-shift.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("study", [study for study in STUDIES if study != "statistics-shift"])
def test_every_study_is_done(study: str, runs: dict[str, Path], tmp_path: Path) -> None:
    chosen = [str(runs["rs-resnet18"]), *([] if study == "path-difference" else [str(runs["rs-lenet5"])])]
    paths = ["--paths", "2"] if study in ("theory", "smoothness") else []
    options = ["none" if option == "in" else option for option in STUDIES[study]]  # a baseline's label
    command = [study, *chosen, *SMALL, *options, *paths, "--out", str(tmp_path)]
    assert run(*command) == 0
    assert visible(tmp_path) >= {f"{study}{ending}" for ending in (".json", ".csv", ".md", ".png")}


def test_paths_of_a_super_network(runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One for each operator, where all layers have it; smoothness has no layers to tell of where there are no norms."""
    lenet = str(runs["rs-lenet5"])
    assert run("path-difference", lenet, *SMALL, *STUDIES["path-difference"], "--out", str(tmp_path)) == 0
    assert run("gradient-similarity", lenet, *SMALL, "--by-difference", "--pairs", "2", "--out", str(tmp_path)) == 0
    assert run("smoothness", lenet, *SMALL, *STUDIES["smoothness"], "--out", str(tmp_path)) == 0
    subjects = read_study(tmp_path / "smoothness.json")["results"]["subjects"]
    assert [subject["label"].rpartition(": ")[2] for subject in subjects] == ["a", "b", "mean of 2 paths"]
    assert [subject["layers"] for subject in subjects] == [[], [], None]
    page = (tmp_path / "smoothness.md").read_text()
    assert "Eq. 5 says nothing of none: a, none: b: no normalisation layers." in page
    capsys.readouterr()
    assert run("smoothness", str(runs["rs-resnet18"]), *SMALL, "--out", str(tmp_path / "none")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected deployed or a number: no option of gn2 is in every layer" in line


def test_a_recipe_is_judged_by_what_is_random(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tiny.yaml"
    head = ("name: tiny\ntitle: Tiny\ntable: []\n"
            "train: {dataset: digits16, width: 2, steps: 1, epochs: 1, n_train: 64, n_holdout: 32, batch_size: 32}\n"
            "models: {one: {arch: rs-lenet5, operators: 1}, four: {arch: rs-resnet18, space: gn2}}\nfigures:\n")
    command = ["reproduce", str(file), "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "results")]
    file.write_text(f"{head}  a: {{study: path-difference, attack: fgsm, n_examples: 8, pairs: 2}}\n")
    assert run(*command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "figures.a.models: 'one' is not valid; expected randomised models" in line
    file.write_text(f"{head}  a: {{study: gradient-similarity, models: [four], paths: normalisers}}\n")
    assert run(*command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "figures.a: --paths: 'normalisers' is not valid; expected deployed or a number: no option of four" in line
    assert not (tmp_path / "runs").exists()
    file.write_text(f"{head}  a: {{study: gradient-similarity, models: [four], paths: 2, n_examples: 8}}\n")
    assert run(*command) == 0
    assert (tmp_path / "results" / "tiny" / "a.md").exists()


@pytest.mark.parametrize(("options", "expected"), [
    (["--operators", "3"], "--operators: 3 is not valid; expected none for resnet18, or a super-network"),
    (["--arch", "rs-lenet5", "--operators", "17"], "at most 16"),
    (["--arch", "rs-resnet18", "--layer-based"], "the same number of options in every layer"),
    (["--arch", "lenet5", "--space", "bn"], "--space: 'bn' is not valid; expected 'none': lenet5 has no"),
])
def test_mistakes_get_one_line_and_leave_nothing(options: list[str], expected: str, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*TRAIN, *options, "--out", str(tmp_path / "run")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    assert not visible(tmp_path)


@pytest.mark.parametrize(("options", "expected"), [
    (["--arch", "rs-resnet18", "--space", "gn32+ln", "--width", "8"],
     ["4 operators, space gn32+ln", "stages.3.1.conv2 3x3, 5x5, 7x7 64 32 1", "options per layer: 2 to 4",
      "choice layers: 36", f"paths: {12**8 * 2**20:,}"]),
    (["--arch", "rs-lenet5"], ["4 operators, space none", "linear3 a, b, c, d 10", "paths: 1,024", "177,704",
                               "no normalisation layers"]),
    (["--arch", "lenet5"], ["lenet5, width 6, space none", "parameters: 44,426", "no normalisation layers"]),
    (["--arch", "vgg11", "--space", "in"], ["features.1 64 64", "choice layers: 0, options per layer: 1, paths: 1 "]),
])
def test_described(options: list[str], expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("describe", *options) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for text in expected:
        assert text in shown
