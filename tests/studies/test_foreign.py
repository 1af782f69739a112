"""Studies of networks that somebody else wrote: all that need only draws take them, the others say what is lacking."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnabench.defence.foreign import ForeignModel
from rnabench.path.path import Path as Draw
from tests.cli.test_cli import TRAIN, run
from tests.defence.networks import SEEDED
from tests.helpers import random_images

NOISY, LINEAR, UNSEEDED = "tests.cli.models:noisy", "tests.cli.models:linear", "tests.defence.networks:unseeded"
FEW = ["--n-examples", "6", "--device", "cpu"]


@pytest.fixture(scope="module")
def rna(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "rna"
    assert run(*TRAIN, "--space", "bn+in", "--width", "8", "--n-train", "32", "--n-holdout", "8",
               "--out", str(folder)) == 0
    return folder


def record(out: Path, kind: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / f"{kind}.json").read_text())
    return content


@pytest.mark.parametrize(("kind", "options"), [
    ("transfer-matrix", ["--attack", "fgsm", "--draws", "3"]), ("all-or-nothing", ["--attack", "fgsm", "--draws", "3"]),
    ("gradient-similarity", []), ("orthogonality", ["--attack", "fgsm", "--pairs", "2"]),
    ("corruptions", ["--corruptions", "gaussian-noise", "--severities", "1", "--draws", "2"]),
    ("smoothness", ["--lengths", "2", "--surfaces", "0", "--samples", "2", "--paths", "deployed"]),
    ("theory", ["--attack", "fgsm", "--lengths", "2", "--paths", "2"]),
    ("batch-size", ["--attack", "fgsm", "--sizes", "3,6", "--draws", "2"]),
])
def test_a_study_takes_them_and_shows_them(kind: str, options: list[str], tmp_path: Path) -> None:
    assert run(kind, "--model", NOISY, "--model", LINEAR, *FEW, *options, "--out", str(tmp_path)) == 0
    found = record(tmp_path, kind)
    assert [(model["label"], model["randomised"]) for model in found["models"]] == [(NOISY, True), (LINEAR, False)]
    assert f"{NOISY} (imported)" in (tmp_path / f"{kind}.md").read_text()
    assert (tmp_path / f"{kind}.png").stat().st_size > 0


def test_they_stand_beside_a_run_on_its_data(rna: Path, tmp_path: Path) -> None:
    assert run("gradient-similarity", str(rna), "--model", NOISY, *FEW, "--out", str(tmp_path)) == 0
    found = record(tmp_path, "gradient-similarity")
    assert [model["label"] for model in found["models"]] == ["bn+in", NOISY]
    assert found["data"]["name"] == json.loads((rna / "run.json").read_text())["data"]["name"]


def test_equal_seeds_meet_in_the_diagonal_of_a_transfer_matrix(tmp_path: Path) -> None:
    """On the attacked draw itself an attack does at least what the record's same-path row says: the very same."""
    options = ["--n-examples", "16", "--device", "cpu", "--seed", "3"]
    assert run("transfer-matrix", "--model", NOISY, "--model", LINEAR, "--attack", "pgd3", *options, "--out",
               str(tmp_path / "study")) == 0
    assert run("attack", "--model", NOISY, "--attacks", "pgd3", "--protocols", "same-path", "--no-sanity", *options,
               "--out", str(tmp_path / "record")) == 0
    cell = record(tmp_path / "study", "transfer-matrix")["results"]["cells"][0][0]
    rows = record(tmp_path / "record", "record")["results"]
    assert cell["accuracy"] == next(row["accuracy"] for row in rows if row["attack"] == "pgd3")


@pytest.mark.parametrize(("words", "line"), [
    (["path-difference", "--model", NOISY], "a network with choice layers"),
    (["gradient-similarity", "--by-difference", "--model", NOISY], "a network with choice layers"),
    (["gradient-similarity", "--paths", "normalisers", "--model", NOISY, "--model", LINEAR], "--paths: 'normalisers'"),
    (["path-difference", "--model", LINEAR], "a randomised network: this one has a single path"),
    (["statistics-transfer", "--model", LINEAR], "trained networks only"),
    (["statistics-shift", "--model", LINEAR], "keep running statistics"),
    (["transfer-matrix", "--model", UNSEEDED, "--model", LINEAR], "no seed fixes those of this one"),
    (["transfer-matrix", "--model", "a:b", "--model", "a:c", "--model-args", "x=1"], "a single --model with it"),
    (["transfer-matrix", "--model-args", "x=1"], "--model with it"),
    (["transfer-matrix", "--model", LINEAR, "--model", LINEAR], "every network once"),
])
def test_what_a_network_lacks_is_said_in_a_line(words: list[str], line: str, tmp_path: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words, *FEW, "--out", str(tmp_path / "out")) == 2
    said = capsys.readouterr().err.strip()
    assert line in said
    assert len(said.splitlines()) == 1
    assert not list(tmp_path.rglob("*.json"))


def test_corruptions_need_no_draw_twice(tmp_path: Path) -> None:
    assert run("corruptions", "--model", UNSEEDED, "--corruptions", "gaussian-noise", "--severities", "1", "--draws",
               "2", *FEW, "--out", str(tmp_path)) == 0


@pytest.mark.parametrize("name", ["torch", "several", "own", "called"])
def test_images_with_draws_of_their_own_go_through_it_as_each_group_alone(name: str) -> None:
    images = torch.from_numpy(random_images(6).images).permute(0, 3, 1, 2).float() / 255
    model = ForeignModel(SEEDED[name][0](), images, 10)
    model.split_by_draw()
    seeds = [5, 3, 5, 5, 9, 3]
    together = model.on(Draw([[seed] for seed in seeds]))(images)
    for seed in set(seeds):
        rows = np.flatnonzero(np.array(seeds) == seed)
        assert torch.equal(together[rows], model.on(Draw.of(seed))(images[rows]))
