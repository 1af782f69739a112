"""`rnabench attack --model` with arguments, weights, draws per image, and networks that no seed fixes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_cli import run

HERE = "tests.defence.networks"
FEW = ["--attacks", "fgsm", "--n-examples", "8", "--draws", "2", "--no-sanity", "--device", "cpu"]


def attacked(out: Path, *options: str) -> dict[str, Any]:
    assert run("attack", *options, *FEW, "--out", str(out)) == 0
    content: dict[str, Any] = json.loads((out / "record.json").read_text())
    return content


def test_a_network_that_no_seed_fixes_is_attacked_with_fresh_draws_only(tmp_path: Path,
                                                                       capsys: pytest.CaptureFixture[str]) -> None:
    record = attacked(tmp_path / "eot", "--model", f"{HERE}:unseeded", "--protocols", "resample,eot:2")
    assert record["model"]["replayable"] is False
    assert record["model"]["random_sources"] == ["something that no seed fixes"]
    assert "cannot be frozen or replayed" in capsys.readouterr().err
    for protocol in ("paper", "same-path", "eot:2,paper"):
        out = tmp_path / "refused"
        assert run("attack", "--model", f"{HERE}:unseeded", *FEW, "--protocols", protocol, "--out", str(out)) == 2
        (said,) = capsys.readouterr().err.strip().splitlines()
        assert "is not valid; expected resample or eot:K: no seed fixes what" in said
        assert not out.exists()


def test_its_sanity_checks_freeze_no_draw_either(tmp_path: Path) -> None:
    assert run("attack", "--model", f"{HERE}:unseeded", "--attacks", "fgsm", "--protocols", "eot:2", "--n-examples",
               "4", "--sanity-examples", "2", "--draws", "2", "--device", "cpu", "--out", str(tmp_path)) == 0
    record = json.loads((tmp_path / "record.json").read_text())
    assert all(probe["protocol"].startswith("eot:") for probe in record["sanity"]["probes"])
    assert record["sanity"]["flags"][5]["status"] == "n/a"


def test_draws_of_each_image_where_the_network_takes_a_generator_for_each(tmp_path: Path,
                                                                        capsys: pytest.CaptureFixture[str]) -> None:
    record = attacked(tmp_path, "--model", f"{HERE}:per_image", "--granularity", "sample", "--protocols", "paper,eot:2")
    assert {result["draws_are"] for result in record["results"]} == {"sample"}
    assert "randomness: the generator it is called with, seeded for every draw" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "words"), [
    (["--model", f"{HERE}:linear"], "--model-args: missing; expected width, which"),
    (["--model", f"{HERE}:linear", "--model-args", "width=3", "--model-weights", "/nowhere.pt"], "--model-weights: "),
    (["--model-args", "width=3"], "expected --model with it"),
    (["--model-weights", "/nowhere.pt"], "expected --model with it"),
])
def test_what_is_wrong_is_said_in_a_line(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("attack", *options, *FEW) == 2
    said = capsys.readouterr().err.strip()
    assert words in said
    assert len(said.splitlines()) == 1


EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.mark.parametrize(("name", "draws"), [
    ("defence", "PASS draws      one for a whole batch"), ("per_image", "PASS draws      one for each image"),
])
def test_the_example_can_be_judged(name: str, draws: str, monkeypatch: pytest.MonkeyPatch,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    assert run("conform", f"noisy_network:{name}", "--model-args", "deviation=0.2", "--n-examples", "16", "--device",
               "cpu") == 0
    said = capsys.readouterr().out
    assert draws in said
    assert "PASS replay" in said
