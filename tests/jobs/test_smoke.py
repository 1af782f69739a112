"""Every table and figure of the paper at the smallest scale, against the committed results: `pytest -n 0 -m smoke`."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnabench.cli.main import main
from rnabench.report.accuracies import read_accuracies
from rnabench.report.regression import compare
from tests.helpers import recipe_files, visible

ROOT = Path(__file__).parents[2]
# those whose results at `smoke` are committed; all of them would take several times CI's half hour
RECIPES = [file.stem for file in recipe_files() if (ROOT / "results" / f"{file.stem}-smoke").is_dir()]
POINTS = 30  # so small networks, so shortly trained, differ so much between processors
BY_CHANCE = {"sanity checks worse", "newly unreliable"}  # of few images of such networks


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return int(end.value.code or 0)


def kept(folder: Path) -> set[str]:
    """What is committed of a folder of results: not the figures as SVG."""
    return {name for name in visible(folder) if not name.endswith(".svg")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("smoke")


@pytest.mark.smoke
@pytest.mark.parametrize("name", RECIPES)
def test_the_recipe_runs_and_its_results_are_the_committed_ones(name: str, folder: Path) -> None:
    """Networks are shared: each is trained by the first recipe that names it."""
    recipe = str(ROOT / "recipes" / f"{name}.yaml")
    assert run("reproduce", recipe, "--profile", "smoke", "--jobs", "2", "--device", "cpu", "--runs",
               str(folder / "runs"), "--out", str(folder / "results")) == 0
    made, committed = folder / "results" / f"{name}-smoke", ROOT / "results" / f"{name}-smoke"
    assert kept(made) == kept(committed)
    before = read_accuracies(committed, "committed")
    assert before.sources
    found = compare(read_accuracies(made, "made"), before, POINTS)
    assert [line.shown for line in found.lines if {problem.kind for problem in line.problems} - BY_CHANCE] == []
