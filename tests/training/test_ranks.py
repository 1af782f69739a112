"""Several processes that train one network: the same as one process does."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from rnabench.errors import InvalidValue
from rnabench.jobs.train import train
from rnabench.model.runs import WEIGHTS
from rnabench.runtime.progress import Silent
from rnabench.runtime.ranks import ALONE, RankLost, Ranks, launched_ranks
from rnabench.runtime.stopping import StopRequest
from rnabench.settings.base import from_options
from rnabench.settings.recipe_loading import load_recipe
from rnabench.settings.training import TrainingSettings
from rnabench.training.shared import check_last_batch, check_ranks
from rnabench.training.state import FILE as STATE
from tests.cli.test_cli import run
from tests.helpers import RECIPES, visible
from tests.training.ranks_at_work import CASES, in_float64, trained

Case = dict[str, Tensor]


def start_ranks(command: list[str], count: int, **environment: str) -> list[subprocess.Popen[str]]:
    """That many processes that find each other, as a launcher starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [subprocess.Popen([sys.executable, *command], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=os.environ | {"RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank),
                                               "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1",
                                               "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"} | environment)
            for rank in range(count)]


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Case]]:
    """What each of two ranks ends with."""
    file = tmp_path_factory.mktemp("ranks") / "trained"
    for process in start_ranks(["-m", "tests.training.ranks_at_work", str(file)], 2):
        assert process.communicate(timeout=300)[1] == ""
        assert process.returncode == 0
    return [torch.load(f"{file}.{rank}", weights_only=True) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_ranks_train_as_one_process_does(by_two: list[dict[str, Case]], case: str) -> None:
    """Loss, weights, running statistics, momenta, and what is judged: to rounding, in float64."""
    alone = trained(CASES[case], ALONE)
    assert len(alone["losses"]) > 1
    for name, value in alone.items():
        assert torch.equal(by_two[0][case][name], by_two[1][case][name]), name
        torch.testing.assert_close(by_two[0][case][name], value, rtol=1e-5, atol=1e-7, check_dtype=False, msg=name)


OPTIONS = {"space": "bn+in", "steps": 1, "width": 4, "epochs": 3, "batch_size": 16, "n_train": 90,
           "n_holdout": 35, "lr": 0.02, "schedule": "cosine"}


def command(folder: Path, save_seconds: float = 60, **changes: object) -> list[str]:
    code = (f"import sys, rnabench.training.loop as loop; loop.SAVE_SECONDS = {save_seconds}; "
            "from tests.training.ranks_at_work import in_float64; in_float64(); "
            "import rnabench.cli.main as cli; cli.RANK_SECONDS = 0; cli.main(sys.argv[1:])")
    return ["-c", code, "train", "--device", "cpu", "--out", str(folder),
            *(f"--{key.replace('_', '-')}={value}" for key, value in {**OPTIONS, **changes}.items())]


def settings(**changes: object) -> TrainingSettings:
    return from_options(TrainingSettings, {**OPTIONS, **changes})


def same_weights(one: Path, other: Path) -> None:
    weights, expected = (load_file(folder / WEIGHTS) for folder in (one, other))
    for name, value in weights.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-7, msg=name)


@pytest.mark.slow
def test_only_the_first_rank_writes_and_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = start_ranks(command(tmp_path / "two"), 2)
    ends = [(*process.communicate(timeout=300), process.returncode) for process in processes]
    assert [code for _, _, code in ends] == [0, 0]
    assert ends[1][:2] == ("", "")
    assert "epoch 3/3" in ends[0][1]
    assert visible(tmp_path / "two") == {"model.safetensors", "run.json", "log.csv"}
    assert json.loads((tmp_path / "two" / "run.json").read_text())["execution"]["ranks"] == 2
    in_float64(monkeypatch.setattr)
    train(settings(), tmp_path / "one", Silent(), StopRequest(), "cpu")
    same_weights(tmp_path / "two", tmp_path / "one")


def later(file: Path, moment: float) -> float:
    """When the file was last written, which is to be after that moment."""
    deadline = time.monotonic() + 120
    while not file.exists() or file.stat().st_mtime <= moment:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return file.stat().st_mtime


@pytest.mark.slow
def test_asked_to_stop_or_killed_it_goes_on_with_any_number_of_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                     ) -> None:
    folder, epochs = tmp_path / "stopped", {"epochs": 8, "select": "last"}
    processes = start_ranks(command(folder, save_seconds=0, **epochs), 2)
    moment = later(folder / STATE, 0)
    processes[1].send_signal(signal.SIGUSR1)  # which the first rank does not get
    told = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [3, 0]
    assert told[0].count("stopped: ") == 1
    assert told[1] == ""

    processes = start_ranks(command(folder, save_seconds=0, **epochs), 2)
    later(folder / STATE, moment + 1)
    processes[1].kill()
    since = time.monotonic()
    errors = [line for line in processes[0].communicate(timeout=60)[1].splitlines() if line.startswith("error")]
    assert time.monotonic() - since < 10
    assert processes[0].returncode == 2
    assert len(errors) == 1
    assert "another rank of this training has ended" in errors[0]
    processes[1].communicate()

    assert not (folder / "model.safetensors").exists()
    in_float64(monkeypatch.setattr)
    train(settings(**epochs), folder, Silent(), StopRequest(), "cpu")
    train(settings(**epochs), tmp_path / "whole", Silent(), StopRequest(), "cpu")
    same_weights(folder, tmp_path / "whole")


@pytest.mark.slow
def test_ranks_that_disagree_are_told_in_one_line(tmp_path: Path) -> None:
    """So is what only the second one meets, by the first. Nothing is written."""
    for number in range(32):
        folder = tmp_path / "images" / "train" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.png")
    images = {"dataset": "folder", "dataset_name": "mine", "n_train": 20, "n_holdout": 4}
    for first, second, expected in (
            ({}, {"lr": 0.5}, "ranks: lr is 0.02 on rank 0 and 0.5 on rank 1"),
            (images | {"data_dir": tmp_path / "images"}, images | {"data_dir": tmp_path / "none"},
             "rank 1: data-dir: ")):
        commands = [command(tmp_path / "run", **first), command(tmp_path / "run", **second)]
        processes = start_ranks(["-c", "import sys, os; each = " + repr(commands) + "; "
                                 "os.execv(sys.executable, [sys.executable, *each[int(os.environ['RANK'])]])"], 2)
        told = [process.communicate(timeout=120)[1] for process in processes]
        assert [process.returncode for process in processes] == [2, 2]
        assert told[1] == ""
        assert told[0].startswith(f"error: {expected}")
        assert told[0].count("\n") == 1
        assert not (tmp_path / "run").exists()


@given(st.integers(0, 1000), st.integers(1, 16))
def test_parts_of_a_batch_are_the_batch(images: int, count: int) -> None:
    parts = [Ranks(rank, count).rows(images) for rank in range(count)]
    assert [place for part in parts for place in range(images)[part]] == list(range(images))
    assert list(Ranks(0, count).sizes(images)) == [part.stop - part.start for part in parts]
    assert max(part.stop - part.start for part in parts) - min(part.stop - part.start for part in parts) <= 1


def test_what_ranks_cannot_share_is_refused() -> None:
    two = Ranks(0, 2)
    for changes, expected in (({"batch_size": 17}, "a multiple of the 2 ranks"), ({"compile": True}, "compiled"),
                              ({"capture": True}, "captured"),
                              ({"objective": "mix", "clean_share": 0.5}, "first images")):
        check_ranks(settings(**changes), ALONE)
        with pytest.raises(InvalidValue, match=expected):
            check_ranks(settings(**changes), two)
    check_last_batch(settings(drop_last=False), 16 + 2, two)
    with pytest.raises(InvalidValue, match="an image for each rank"):
        check_last_batch(settings(drop_last=False), 16 + 1, two)


@pytest.fixture
def of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "3", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "3",
                        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("of_three")
def test_more_ranks_than_gpus_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InvalidValue, match="at most the 2 CUDA devices"), launched_ranks("auto"):
        pass
    with pytest.raises(InvalidValue, match="each on its own GPU"), launched_ranks("cuda:1"):
        pass


@pytest.mark.usefixtures("of_three")
def test_other_commands_are_not_for_several_ranks(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("describe") == 2
    assert "train: other commands" in capsys.readouterr().err


@pytest.mark.usefixtures("of_three")
@pytest.mark.parametrize(("name", "value"), [("RANK", "x"), ("RANK", "3"), ("LOCAL_RANK", "x"), ("LOCAL_RANK", "3"),
                                             ("MASTER_PORT", "x"), ("MASTER_PORT", "99999"), ("MASTER_ADDR", "")])
def test_a_launch_that_cannot_be_is_told_by_its_own_process(name: str, value: str, monkeypatch: pytest.MonkeyPatch,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    """Whichever it is: others may have been told what can be, and wait for it."""
    monkeypatch.setattr("rnabench.cli.main.RANK_SECONDS", 0)
    monkeypatch.setenv(name, value)
    assert run("describe") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: ${name}: {value!r} is not valid")


@pytest.mark.usefixtures("of_three")
def test_a_port_that_is_taken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has ended, and there is no state to go on from."""
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        with pytest.raises(RankLost, match="does not find the others"), launched_ranks("cpu"):
            pass


def test_the_documented_command_trains_the_recipes_network() -> None:
    page = (Path(__file__).parents[2] / "docs" / "pages" / "howto" / "several-gpus.md").read_text()
    told = next(line for line in page.replace("\\\n", " ").splitlines() if "--init" in line)
    typed = shlex.split(told.partition(" train ")[2])
    asked = from_options(TrainingSettings, {name.removeprefix("--").replace("-", "_"): number(value)
                                            for name, value in zip(typed[::2], typed[1::2], strict=True)})
    assert asked.digest() == load_recipe(RECIPES / "table3-imagenet.yaml", "short").models["RNA-imagenet"].digest()


def number(text: str) -> int | float | str:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
