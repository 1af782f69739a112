"""Workers are equal and may be lost: what they make together is what one makes, and every end of them is told."""

from __future__ import annotations

import importlib.util
import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rnabench.errors import InvalidValue, RnabenchError
from rnabench.jobs import cluster as module
from rnabench.jobs import worker as worker_module
from rnabench.jobs.cluster import LOGS, Cluster
from rnabench.jobs.reproduce import Place
from rnabench.jobs.worker import Worker
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import Stopped, StopRequest
from rnabench.settings.recipe import Recipe
from rnabench.settings.recipe_loading import load_recipe
from tests.cli.test_cli import run
from tests.helpers import RECIPES
from tests.jobs.light_worker import Light
from tests.jobs.test_reproduce import TEXT

pytest.importorskip("submitit")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are found in /proc")

STUB = """\
#!{python}
import os, re, subprocess, sys
name, *said = os.path.basename(sys.argv[0]), *sys.argv[1:]
here = os.path.dirname(os.path.abspath(sys.argv[0]))
def start(number):
    ids = dict(SLURM_JOB_ID="770", SLURM_ARRAY_JOB_ID="77", SLURM_ARRAY_TASK_ID=number, SLURM_NTASKS="1")
    subprocess.Popen(["bash", here + "/batch"], env=os.environ | ids, start_new_session=True,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # who waits for sbatch waits for its pipes
if name == "sbatch":
    text = open(said[-1]).read()
    open(here + "/batch", "w").write(text)
    last = re.search(r"--array=0-(\\d+)", text)
    for number in range(int(last[1]) + 1):
        start(str(number))
    print("Submitted batch job 77")
elif name == "srun":
    at = said.index("--error") + 2
    fill = lambda text: text.replace("%A", "77").replace("%a", os.environ["SLURM_ARRAY_TASK_ID"]).replace("%t", "0")
    with open(fill(said[said.index("--output") + 1]), "a") as out, open(fill(said[at - 1]), "a") as err:
        sys.exit(subprocess.call(said[at:], stdout=out, stderr=err))
elif name == "scontrol":
    start(said[-1].split("_")[1])
elif name == "sacct":
    print("JobID|State|NodeList\\n77_0|RUNNING|here\\n77_1|RUNNING|here\\n77_2|RUNNING|here")
elif name == "scancel":
    open(here + "/cancelled", "a").write(said[0] + "\\n")
"""


class Said(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def trial() -> ModuleType:
    """docs/cluster_trial.py, which is the long version of the first test."""
    spec = importlib.util.spec_from_file_location("cluster_trial", RECIPES.parent / "docs" / "cluster_trial.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules["cluster_trial"] = loaded  # where dataclasses look for it
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    file = tmp_path / "tiny.yaml"
    file.write_text(TEXT)
    return load_recipe(file)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands that do what Slurm's do."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sbatch", "srun", "scontrol", "sacct", "scancel"):
        (folder / name).write_text(STUB.replace("{python}", sys.executable))
        (folder / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def place(folder: Path) -> Place:
    return Place(folder / "runs", folder / "results" / "tiny", "cpu")


def soon() -> StopRequest:
    """So that a test fails where it would hang."""
    return StopRequest(max_minutes=2)


def replaced(monkeypatch: pytest.MonkeyPatch, *workers: Light) -> None:
    monkeypatch.setattr(Cluster, "_workers", lambda self, *_: iter(workers))


@pytest.mark.slow
def test_workers_one_killed_and_one_preempted_do_what_one_process_does(
    trial: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TEXT.partition("figures:")[0])
    seen = trial.with_workers(file, tmp_path / "together", 2, [signal.SIGKILL, signal.SIGUSR2], (0, 0.5))
    shown = capfd.readouterr().err
    assert len(seen.hit) == 2
    assert sum("killed, or ended in disorder" in line for line in shown.splitlines()) == 1
    assert shown.count(": finished") == 1
    assert any("Requeued" in log.read_text() for log in (tmp_path / "together" / "runs" / LOGS).rglob("*.out"))
    trial.reproduce(file, tmp_path / "alone")
    assert trial.differing(tmp_path / "alone", tmp_path / "together") == []
    assert seen.lines
    assert seen.twice() == []
    assert not list((tmp_path / "together").rglob("*.pkl"))


@pytest.mark.slow
def test_cancelled_workers_save_their_state_and_leave(trial: ModuleType, recipe: Recipe, tmp_path: Path) -> None:
    here, progress = place(tmp_path), Said()

    class AtWork(StopRequest):
        def __bool__(self) -> bool:
            return any("training" in log.read_text() for log in (here.runs / LOGS).rglob("*.out"))

    before = set(trial.processes())
    with pytest.raises(Stopped):
        Cluster("local")(recipe, here, 1, progress, AtWork())
    assert progress.lines[-1] == "cancelled: 1 workers"
    mine = {process for process, parent in trial.processes().items() if parent == os.getpid()}
    assert mine <= before
    (log,) = (here.runs / LOGS).rglob("*.err")
    assert "Traceback" not in log.read_text()


def test_a_preempted_worker_hands_the_signal_on_once_its_state_is_saved(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To submitit, which puts it back into the queue; who is only stopped leaves, and does not come back."""
    order: list[str] = []

    def work(sent: int) -> Callable[..., None]:
        def until_asked(*arguments: Any) -> None:
            stop = arguments[-1]
            os.kill(os.getpid(), sent)
            while not stop:
                time.sleep(0.01)
            order.append("saved")
            raise stop.stopped("in the middle")
        return until_asked

    previous = signal.signal(signal.SIGUSR2, lambda *_: order.append("requeued"))
    try:
        for sent, expected in ((signal.SIGUSR2, ["saved", "requeued"]), (signal.SIGTERM, ["saved"])):
            order.clear()
            monkeypatch.setattr(worker_module, "side_by_side", work(sent))
            with pytest.raises(SystemExit):
                Worker(recipe, place(tmp_path), 1)()
            assert order == expected
    finally:
        signal.signal(signal.SIGUSR2, previous)


def test_slurm_gets_what_was_asked_for_and_gives_back_who_is_preempted(
    recipe: Recipe, slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced(monkeypatch, Light(tmp_path, "a"), Light(tmp_path, "b", preempted=True), Light(tmp_path, "c"))
    progress = Said()
    Cluster("slurm", 3, 2, 30)(recipe, place(tmp_path), 1, progress, soon())
    asked = (slurm / "batch").read_text()
    for each in ("--array=0-2", "--gpus-per-node=2", "--time=30", "--signal=USR2@90", "--job-name=rnabench"):
        assert each in asked
    assert [(tmp_path / name).read_text().count("here") for name in "abc"] == [1, 2, 1]
    assert sorted(progress.lines[1:]) == [f"worker {number} of 3: finished" for number in (1, 2, 3)]


def test_slurm_s_refusal_is_one_line(recipe: Recipe, slurm: Path, tmp_path: Path) -> None:
    (slurm / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition' >&2\nexit 1\n")
    with pytest.raises(RnabenchError, match="invalid partition") as error:
        Cluster("slurm", 2)(recipe, place(tmp_path), 1, Silent(), soon())
    assert "\n" not in str(error.value)


def test_slurm_s_workers_are_cancelled(recipe: Recipe, slurm: Path, tmp_path: Path) -> None:
    (slurm / "sbatch").write_text("#!/bin/sh\necho Submitted batch job 77\n")
    with pytest.raises(Stopped):
        Cluster("slurm", 2)(recipe, place(tmp_path), 1, Silent(), StopRequest(max_minutes=0.01))
    assert (slurm / "cancelled").read_text().split() == ["77_0", "77_1"]


def test_how_workers_end_is_told_and_one_at_the_end_is_enough(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = Said()
    replaced(monkeypatch, Light(tmp_path, "a"), Light(tmp_path, "b", problem="raise"),
             Light(tmp_path, "c", problem="no data"))
    Cluster("local", 3)(recipe, place(tmp_path), 1, progress, soon())
    assert [(line.split(":")[0], "mistake" in line, "no data" in line) for line in sorted(progress.lines[1:])] == [
        ("worker 1 of 3", False, False), ("worker 2 of 3", True, False), ("worker 3 of 3", False, True)]
    replaced(monkeypatch, Light(tmp_path, "a", problem="no data"), Light(tmp_path, "b", problem="no data"))
    with pytest.raises(RnabenchError, match="no worker came to the end: no data"):
        Cluster("local", 2)(recipe, place(tmp_path), 1, Silent(), soon())


@pytest.mark.parametrize(("gpus", "each", "expected"), [
    ([], None, ["", ""]), (["0", "1"], None, ["0", "1"]), (["3"], None, ["3", "3"]),
    (["0", "1", "2", "3"], 2, ["0,1", "2,3"]), (["0"], 0, ["", ""])])
def test_workers_here_share_the_gpus(gpus: list[str], each: int | None, expected: list[str], recipe: Recipe,
                                     tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "visible_gpus", lambda: gpus)
    workers = list(Cluster("local", 2, each)._workers(recipe, place(tmp_path), 1))
    assert [worker.gpus for worker in workers] == expected


def test_a_worker_works_at_the_same_place_wherever_it_starts(recipe: Recipe, monkeypatch: pytest.MonkeyPatch,
                                                             tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    asked = Place(Path("runs"), Path("results"), "cpu", refresh=True, log=("tensorboard",))
    (worker,) = Cluster("local", 1)._workers(recipe, asked, 1)
    assert worker.place == replace(asked, runs=tmp_path / "runs", folder=tmp_path / "results")


@pytest.fixture
def without_slurm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PATH", "")
    return iter(())


@pytest.mark.parametrize(("options", "told"), [
    (("--cluster", "slrm"), "did you mean 'slurm'"),
    (("--cluster", "slurm"), "sbatch and srun not found"),
    (("--cluster", "local", "--workers", "0"), "--workers: 0 is not valid"),
    (("--cluster", "local", "--workers", "2", "--gpus-per-worker", "1"), "0 GPUs here"),
    (("--cluster", "local", "--gpus-per-worker", "-1"), "--gpus-per-worker: -1"),
    (("--cluster", "local", "--minutes", "1"), "--minutes: 1 is not valid"),
    (("--cluster", "local", "--device", "cuda:1"), "--device: 'cuda:1'"),
    (("--workers", "2"), "--cluster slurm or --cluster local with it"),
    (("--minutes", "20"), "--cluster slurm or --cluster local with it")])
def test_what_cannot_be_had_is_one_line(options: tuple[str, ...], told: str, without_slurm: None, tmp_path: Path,
                                        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("reproduce", str(RECIPES / "quickstart.yaml"), *options) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_who_has_no_submitit_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(RnabenchError, match=r"pip install 'rnabench\[cluster\]'"):
        Cluster("local")
    with pytest.raises(InvalidValue):  # what is wrong without it as well comes first
        Cluster("local", workers=0)
