"""`rnabench attack --model` for a network without gradients, and `--transfer-from`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_cli import TRAIN, run


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "plain"
    smallest = ["--space", "bn", "--width", "8", "--n-train", "32", "--n-holdout", "8"]
    assert run(*TRAIN, *smallest, "--out", str(folder)) == 0
    return folder


FOREIGN = ["attack", "--model", "tests.cli.models:without_gradient", "--n-examples", "8", "--sanity-examples", "4",
           "--attacks", "fgsm", "--device", "cpu"]


def test_a_model_without_gradients_gets_a_record_whose_fail_can_be_cited(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    for options, words in (([], "no transfer attack was run"), (["--transfer-from", str(plain)], "from plain (")):
        out = tmp_path / str(len(options))
        assert run(*FOREIGN, *options, "--out", str(out)) == 0
        said = capsys.readouterr()
        assert "no gradient reaches" in said.err
        record = json.loads((out / "record.json").read_text())
        assert record["model"]["differentiable"] is False
        failed = record["sanity"]["flags"][3]
        assert failed["status"] == "FAIL"
        assert words in failed["text"]
        assert [result["unreliable"] for result in record["results"]] == [False, True]
        probes = {probe["attack"]: probe["parameters"]["kind"] for probe in record["sanity"]["probes"]}
        assert probes["square200"] == "square"
        assert probes.get("transfer-pgd20") == ("transfer" if options else None)
        assert run("report", str(out), "--out", str(out / "page.html")) == 0
        assert words in (out / "page.html").read_text()


@pytest.mark.parametrize(("options", "words"), [
    (["--transfer-from", "RUN", "--no-sanity"], "--sanity"), (["--transfer-from", "RUN", "--norm", "L2"], "Linf"),
    (["--transfer-from", "/nonexistent/run"], "--transfer-from: '/nonexistent/run' has no run.json"),
])
def test_what_it_cannot_be_made_from(plain: Path, options: list[str], words: str, monkeypatch: pytest.MonkeyPatch,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    assert run(*FOREIGN, *(str(plain) if option == "RUN" else option for option in options)) == 2
    assert words in capsys.readouterr().err


def test_a_grey_box_is_a_row_of_the_table(plain: Path, tmp_path: Path) -> None:
    """Made on one network, or on several as one."""
    few = ["--n-examples", "8", "--draws", "2", "--device", "cpu", "--no-sanity", "--attacks", "fgsm,transfer-pgd2",
           "--out", str(tmp_path / "out"), "--no-resume"]
    for made_on in (str(plain), f"{plain},{plain}"):
        assert run("attack", str(plain), *few, "--transfer-from", made_on) == 0
        record = json.loads((tmp_path / "out" / "record.json").read_text())
        assert [result["attack"] for result in record["results"]] == ["natural", "fgsm", "transfer-pgd2"]
        assert record["results"][2]["parameters"]["surrogate"].count("plain (weights") == 1 + made_on.count(",")
        assert record["headline"]["attacks"] == ["fgsm / any", "transfer-pgd2 / any"]
