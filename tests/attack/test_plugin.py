"""An attack of another package is one class in one file, and works wherever ours do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rnabench
from rnabench.report.record import Record
from rnabench.report.record_file import read_record
from rnabench.report.scores import judged
from rnabench.report.staleness import reasons

EXAMPLE = Path(__file__).parents[1] / "other_package" / "rnabench_example" / "attack.py"
LEAP = '''

@ATTACKS.register("leap")
class Leap(Attack):
    def run(self, estimator, images, labels, uniform, threat):
        return (images + 2 * threat.eps).clamp(0, 1)
'''
MODEL = ["attack", "--model", "tests.cli.models:linear", "--n-examples", "8", "--device", "cpu"]


def rnabench_with_plugin(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, for which a package with the attacks is installed in `folder`."""
    (folder / "nudging.py").write_text(EXAMPLE.read_text() + LEAP)
    installed = folder / "nudging-1.0.dist-info"
    installed.mkdir(exist_ok=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: nudging\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[rnabench.attacks]\nnudging = nudging\n")
    places = [str(folder), str(Path(rnabench.__file__).parent.parent)]
    return subprocess.run([sys.executable, "-m", "rnabench", *arguments], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(places), "COLUMNS": "200"})


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    folder = tmp_path_factory.mktemp("plugin")
    done = rnabench_with_plugin(folder, *MODEL, "--attacks", "fgsm,nudge3,nudge9@4/255", "--sanity-examples", "2",
                                "--out", "out")
    assert done.returncode == 0, done.stderr
    return read_record(folder / "out" / "record.json")


def test_it_runs_by_name_and_its_record_says_all_of_it(record: Record) -> None:
    attacked = {result.attack: result.parameters for result in record.results}
    assert attacked["nudge3"] == {"kind": "nudge", "steps": 3, "eps": 8 / 255, "random_start": False,
                                  "backend": "native"}
    assert attacked["nudge9@4/255"]["eps"] == pytest.approx(4 / 255)
    assert (record.algorithms or {})["nudge"] == 7
    right = {result.attack: result.accuracy for result in record.results}
    assert right["nudge3"] <= right["nudge9@4/255"] <= right["natural"]


def test_sanity_checks_order_it_by_its_declared_strength(record: Record) -> None:
    order = next(flag for flag in record.sanity.flags if flag.name == "order")
    ours = next(flag for flag in judged(record).sanity.flags if flag.name == "order")
    pairs = [int(flag.text.split("(")[1].split()[0]) for flag in (order, ours)]
    assert pairs[0] > pairs[1]  # where the package is not installed nobody knows its strength


def test_its_record_is_read_where_the_package_is_not_installed(record: Record) -> None:
    assert judged(record).headline == record.headline
    assert reasons(record) == ["nudge 7, now none"]


@pytest.mark.slow
def test_it_is_listed_and_a_suite_of_a_recipe_may_name_it(tmp_path: Path) -> None:
    listed = rnabench_with_plugin(tmp_path, "attack", "--list").stdout
    assert "small steps along the gradient" in listed
    assert "steps 5" in listed
    recipe = {"name": "plugin", "title": "Plugin", "models": {"bn": {"space": "bn"}},
              "train": {"dataset": "digits", "epochs": 1, "width": 2},
              "evaluate": {"suites": {"mine": {"attacks": ["nudge2"], "protocols": ["paper"]}},
                           "suite": "mine"}}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    planned = rnabench_with_plugin(tmp_path, "reproduce", "recipe.yaml", "--plan")
    assert planned.returncode == 0, planned.stderr


def test_what_leaves_the_ball_is_not_scored(tmp_path: Path) -> None:
    done = rnabench_with_plugin(tmp_path, *MODEL, "--attacks", "leap", "--no-sanity")
    assert done.returncode == 2
    assert "attack leap: moved an image by 0.0627451 (Linf); expected at most eps 0.0313725" in done.stderr.replace(
        "\n", " ")
