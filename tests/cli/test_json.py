"""`--json`: whatever the command, standard output is one strict JSON document, with the keys that are documented."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rnabench.cli.answer import SCHEMA, Answer
from rnabench.cli.command import command
from rnabench.cli.main import COMMANDS
from rnabench.cli.study import studies
from rnabench.report.record_file import kind_of, read_content, read_record, read_study
from rnabench.report.scores import rows
from rnabench.report.study import study_of
from rnabench.runtime.plain import plain
from tests.cli.folders import run_folder
from tests.cli.test_cli import TRAIN, run
from tests.cli.test_command import parameters
from tests.cli.test_rescore import ATTACK
from tests.dense.subjects import CLASSES, SEGMENTS, lively_network, save, write_folder

ROOT = Path(__file__).parents[2]
(FILE,) = (ROOT / "docs").rglob("howto/json.md")
PAGE = FILE.read_text()
WITHOUT: dict[str, str] = {}  # a command that prints no document, and why
ENVELOPE = ["command", "schema", "rnabench"]
Read = Callable[..., dict[str, Any]]
STUDY, PLAN = "a study, such as `transfer-matrix`", "`reproduce --plan`"
RECIPE = """\
name: tiny
title: Tiny
train: {width: 2, steps: 1, epochs: 1, n_train: 64, n_holdout: 32, batch_size: 32}
models: {bn: {space: bn}}
evaluate: {attacks: [fgsm], n_examples: 8, draws: 2, sanity: false}
figures: {matrix: {study: transfer-matrix, models: [bn], attack: fgsm, n_examples: 8}}
"""
EXAMPLES: dict[str, list[str]] = {  # by the first column of the page's table
    "`train`": [*TRAIN, "--out", "runs/drawn"],
    "`attack`": ["attack", "runs/drawn", *ATTACK, "--out", "out"],
    "`attack --list`": ["attack", "--list"],
    STUDY: ["transfer-matrix", "runs/plain", "--attack", "fgsm", "--n-examples", "8"],
    "`conform`": ["conform", "tests.cli.models:noisy", "--n-examples", "8"],
    "`recipes`": ["recipes", "quickstart"],
    "`reproduce`, `quickstart`": ["reproduce", "tiny.yaml"],
    PLAN: ["reproduce", "tiny.yaml", "--plan"],
    "`report`": ["report", "out"],
    "`card`": ["card", "out"],
    "`check`": ["check", "out", "--against", "out", "--all"],
    "`rescore`": ["rescore", "out/record.json"],
    "`runs`": ["runs"],
    "`describe`": ["describe", "--width", "2"],
    "`convert`": ["convert", "released.pt", "--dataset", "digits", "--out", "converted"],
    "`export`": ["export", "runs/drawn", "--names", "released", "--out", "exported.pt"],
    "`push`": ["push", "runs/drawn", "./shared"],
    "`pull`": ["pull", "./given", "--runs", "pulled"],
    "`bench`": ["bench", "--width", "2", "--steps", "1", "--batch-size", "4", "--repeats", "1"],
    "`crosscheck`": ["crosscheck", "runs/plain", "--attacks", "fgsm", "--n-examples", "4"],
    "`dense`": ["dense", f"{SEGMENTS}=first.safetensors", "--data-dir", "segments", "--classes", str(CLASSES),
                "--steps", "2", "--permuted", "1"],
    "`doctor`": ["doctor", "--no-compile"],
}


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that the examples read."""
    folder = tmp_path_factory.mktemp("there")
    assert run(*TRAIN, "--out", str(folder / "runs" / "drawn")) == 0
    assert run(*TRAIN, "--space", "bn", "--out", str(folder / "runs" / "plain")) == 0
    assert run("attack", str(folder / "runs" / "drawn"), *ATTACK, "--out", str(folder / "out")) == 0
    drawn, file = str(folder / "runs" / "drawn"), str(folder / "released.pt")
    assert run("export", drawn, "--names", "released", "--out", file) == 0
    assert run("push", drawn, str(folder / "given")) == 0
    write_folder(folder / "segments")
    save(lively_network(), folder / "first.safetensors")
    (folder / "tiny.yaml").write_text(RECIPE)
    return folder


@pytest.fixture
def read(there: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Read:
    """What a command prints, there."""
    monkeypatch.chdir(there)

    def read(*arguments: str) -> dict[str, Any]:
        code = run(*arguments, "--json")
        document: dict[str, Any] = json.loads(capfd.readouterr().out, parse_constant=pytest.fail)
        assert list(document)[:3] == ENVELOPE
        assert (document["command"], document["schema"]) == (arguments[0], SCHEMA)
        assert code == document.get("failed", False)
        return document

    return read


def table(heading: str) -> dict[str, str]:
    """The rows of a table of the page, by their first column."""
    lines = PAGE.partition(heading)[2].splitlines()[2:]
    return dict(line.strip("| ").split(" | ", 1) for line in lines[:lines.index("")])


def named(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_it_but_for_those_with_a_reason(name: str) -> None:
    assert ("--json" in {option for parameter in parameters(name) for option in parameter.opts}) != (name in WITHOUT)


def test_the_page_names_every_command() -> None:
    told = {name for first in table("| command | keys |") for name in re.findall(r"`([\w-]+)", first)}
    assert told - {"transfer-matrix"} == set(COMMANDS) - set(studies())
    assert set(EXAMPLES) == set(table("| command | keys |"))


@pytest.mark.slow
@pytest.mark.parametrize("row", EXAMPLES)
def test_a_document_has_the_keys_that_the_page_names(row: str, read: Read) -> None:
    document, told = read(*EXAMPLES[row]), table("| command | keys |")[row]
    assert set(document) - set(ENVELOPE) == named(re.sub(r"\([^)]*\)", "", told))
    for key, inner in re.findall(r"`(\w+)` \((`[^);:]*)", told):
        found = document[key]
        if found:
            assert set(found[0] if isinstance(found, list) else found) == named(inner), key
    if row == PLAN:
        cells = {name for first in table("| key of a cell | meaning |") for name in named(first)}
        assert all(set(cell) == cells for cell in document["cells"])


def test_a_verdict_is_a_document_and_bad_input_is_none(read: Read, there: Path, capfd: pytest.CaptureFixture[str]
                                                       ) -> None:
    worse = (there / "out" / "table.csv").read_text().replace("fgsm", "gone")
    (there / "worse.csv").write_text(worse)
    found = read("check", "worse.csv", "--against", "out/table.csv")
    assert found["failed"]
    assert any(problem["kind"] == "vanished" for row in found["rows"] for problem in row["problems"])
    assert run("check", "nowhere", "--against", "out", "--json") == 2
    said = capfd.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert run(*TRAIN, "--seed", "9", "--max-minutes", "0.000001", "--out", "runs/stopped", "--json") == 3
    assert capfd.readouterr().out == ""


def test_what_is_shown_else_goes_to_standard_error(there: Path, monkeypatch: pytest.MonkeyPatch,
                                                   capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(there)
    assert run("runs") == 0
    shown = capfd.readouterr().out
    assert "drawn" in shown
    assert run("runs", "--json") == 0
    said = capfd.readouterr()
    assert len(json.loads(said.out)["runs"]) >= 2
    assert shown.splitlines()[0] in said.err
    assert run("runs") == 0  # and afterwards all is as it was
    assert capfd.readouterr().out == shown


class Talkative(nn.Module):
    """Prints in every way that there is."""

    def forward(self, images: Tensor) -> Tensor:
        print("a network's own words")
        os.write(1, b"by its number\n")
        return images.flatten(1)[:, :10]


def test_a_networks_own_words_are_not_in_the_document(read: Read, capfd: pytest.CaptureFixture[str]) -> None:
    assert read("conform", "tests.cli.test_json:Talkative", "--n-examples", "4")["checks"]


def test_a_number_that_is_none_is_null(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_folder(tmp_path / "run", 1e9, status="training")
    (folder / "log.csv").write_text("epoch,holdout_natural,holdout_pgd\n1,nan,inf\n")
    assert run("runs", str(tmp_path), "--json") == 0
    (found,) = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["runs"]
    assert (found["natural"], found["attacked"]) == (None, None)


def test_any_commands_answer_is_strict(capsys: pytest.CaptureFixture[str]) -> None:
    """Also of a command that somebody adds: what is not finite is null, and a verdict is an exit code."""
    def added() -> Answer:
        return {"failed": True, "numbers": (math.nan, np.float32(math.inf), np.arange(2)), "file": Path("a"),
                "scalar": torch.tensor(2.0).item()}

    with pytest.raises(typer.Exit) as exited:
        command(added, "added")(as_json=True)
    assert exited.value.exit_code == 1
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) | {"rnabench": ""} == {
        "command": "added", "schema": SCHEMA, "rnabench": "", "failed": True, "numbers": [None, None, [0, 1]],
        "file": "a", "scalar": 2.0}


def test_the_rows_of_all_that_is_committed_are_json() -> None:
    """Of studies, whose rows are their own, and of attacks."""
    seen = set()
    for file in sorted((ROOT / "results").glob("*/*.json")):
        if (kind := kind_of(read_content(file))) == "study":
            record = read_study(file)
            seen.add(record["study"])
            found = {"rows": study_of(record).rows(record), "findings": study_of(record).findings(record)}
        elif kind == "record":
            found = {"rows": rows([read_record(file)])}
        else:
            continue
        told = json.loads(json.dumps(plain(found), allow_nan=False))
        assert [list(row) for row in told["rows"]] == [list(row) for row in found["rows"]]
    assert len(seen) > 5


values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                      lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@settings(max_examples=50)
@given(values)
def test_plain_changes_nothing_but_what_json_lacks(value: Any) -> None:
    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(part) for key, part in value.items()}
        if isinstance(value, list):
            return list(map(without, value))
        return None if isinstance(value, float) and value - value != 0 else value

    assert plain(value) == without(value)
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == plain(value)
