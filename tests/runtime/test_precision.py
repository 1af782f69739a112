"""`--precision` decides the number formats of a run, whatever torch was set to, and leaves torch as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rnabench.cli.main import main
from rnabench.errors import InvalidValue
from rnabench.jobs.evaluate import attack
from rnabench.jobs.foreign import load_foreign
from rnabench.runtime import device as formats
from rnabench.runtime.device import check_precision, formats_in_effect, number_formats
from rnabench.runtime.environment import device_description
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import StopRequest
from rnabench.settings.base import Precision
from rnabench.settings.datasets import DataSettings
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.training import TrainingSettings
from tests.helpers import Lambda

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def state() -> list[object]:
    """All that torch has to say about the formats of float32."""
    backends: Any = torch.backends
    found: list[object] = [owner.fp32_precision for owner in (
        backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn, backends.mkldnn.matmul, backends.mkldnn.conv)]
    return [*found, torch.get_float32_matmul_precision(), backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32]


@pytest.fixture
def any_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The flags of CUDA can be looked at where there is no CUDA."""
    monkeypatch.setattr(formats, "check_precision", lambda precision, device: None)
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


@pytest.mark.parametrize("matmul", ["highest", "high", "medium"])
@pytest.mark.parametrize("cudnn", [False, True])
def test_inside_it_is_what_was_asked_for_and_outside_what_it_was(any_device: None, matmul: str, cudnn: bool) -> None:
    torch.set_float32_matmul_precision(matmul)
    torch.backends.cudnn.allow_tf32 = cudnn
    before = state()
    wanted: dict[Precision, list[str | None]] = {
        "fp32": ["fp32", "fp32", None], "tf32": ["tf32", "tf32", None], "bf16": ["fp32", "fp32", "bf16"]}
    for precision, expected in wanted.items():
        with number_formats(precision, CUDA):
            state()  # torch raises where its older and its newer settings disagree
            assert list(formats_in_effect(precision, CUDA).values()) == expected
            if precision != "tf32":
                assert list(formats_in_effect(precision, CPU).values()) == expected
        assert state() == before
        with pytest.raises(KeyError), number_formats(precision, CUDA):
            raise KeyError
        assert state() == before


def test_settings_of_torchs_newer_kind_are_put_back_too(any_device: None) -> None:
    torch.backends.cuda.matmul.fp32_precision = "tf32"  # its older kind still says the opposite, and then raises
    try:
        with number_formats("fp32", CUDA):
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = "none"


def test_tf32_is_refused_on_a_cpu() -> None:
    for precision in ("fp32", "bf16"):
        check_precision(precision, CPU)
    with pytest.raises(InvalidValue, match="--precision: 'tf32' is not valid; expected fp32 or bf16 on a CPU"):
        check_precision("tf32", CPU)
    with pytest.raises(InvalidValue, match="--precision"):
        load_foreign("tests.cli.models:linear", DataSettings(), EvaluationSettings(precision="tf32", n_examples=2),
                     "cpu")


@pytest.mark.parametrize("command", [["train"], ["attack", "--model", "tests.cli.models:linear"]])
def test_the_command_says_so_in_one_line(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command, "--precision", "tf32", "--device", "cpu"])
    assert end.value.code == 2
    said = capsys.readouterr().err.strip()
    assert "tf32" in said
    assert len(said.splitlines()) == 1


def test_a_recipe_is_refused_before_its_first_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "recipe.yaml"
    for section in ("train: {precision: tf32}\n", "evaluate: {precision: tf32}\n"):
        file.write_text(f"name: x\ntitle: X\nmodels: {{bn: {{space: bn}}}}\n{section}")
        with pytest.raises(SystemExit) as end:
            main(["reproduce", str(file), "--device", "cpu", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path)])
        assert end.value.code == 2
        assert "tf32" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_the_choice_is_no_part_of_a_recipe_that_does_not_make_it() -> None:
    """A run folder's name is what it was before there was a choice."""
    assert TrainingSettings(precision="fp32").digest() == TrainingSettings().digest()
    assert len({TrainingSettings(precision=precision).digest() for precision in ("fp32", "tf32", "bf16")}) == 3


def test_runs_and_records_say_what_was_in_effect(tmp_path: Path) -> None:
    plain = {"matmul": "fp32", "convolution": "fp32", "autocast": None}
    assert device_description("cpu")["formats"] == plain
    run = tmp_path / "run"
    tiny = ["--space", "bn", "--width", "2", "--n-train", "32", "--n-holdout", "16", "--batch-size", "32", "--epochs",
            "1", "--steps", "1", "--device", "cpu"]
    for arguments in (["train", *tiny, "--precision", "bf16", "--out", str(run)],
                      ["attack", str(run), "--attacks", "fgsm", "--n-examples", "4", "--no-sanity", "--out",
                       str(tmp_path / "out"), "--device", "cpu"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
    trained = json.loads((run / "run.json").read_text())
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert trained["device"]["formats"] == plain | {"autocast": "bf16"}
    assert record["device"]["formats"] == plain
    assert record["model"]["training"]["device"]["formats"]["autocast"] == "bf16"


def test_an_evaluation_runs_in_the_formats_that_it_asks_for(tmp_path: Path) -> None:
    """Whatever torch was set to before; here through the flags for the CPU, which torch's `medium` sets to bf16."""
    before = torch.get_float32_matmul_precision()
    keys = EvaluationSettings(attacks=("fgsm",), n_examples=2, sanity=False)
    torch.set_float32_matmul_precision("medium")
    try:
        target = load_foreign("tests.runtime.test_precision:looking", DataSettings(), keys, "cpu")
        attack(target, keys, tmp_path / "record.json", Silent(), StopRequest())
        assert set(SEEN) == {"ieee"}
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


SEEN: list[str] = []


def looking() -> nn.Module:
    """A network that notes the format that it is run in."""
    def forward(x: torch.Tensor) -> torch.Tensor:
        SEEN.append(torch.backends.mkldnn.matmul.fp32_precision)
        return x.flatten(1)[:, :10]

    return Lambda(forward)
