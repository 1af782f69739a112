"""Records and studies in which something was changed by hand: read, or refused in words, wherever they are read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnabench.errors import RnabenchError
from rnabench.report.accuracies import read_accuracies
from rnabench.report.card import cards
from rnabench.report.model_info import Authorship
from rnabench.report.page.render import write_page
from rnabench.report.record_file import kind_of, read_record
from rnabench.report.regression import compare
from rnabench.report.scores import judged
from rnabench.report.table import display, markdown, read_results
from rnabench.report.whole import baseline_record, whole_record, whole_study
from tests.damage import MANY, assert_told, damaged, nested

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "results" / "quickstart"
RECORDS = [json.loads(file.read_text()) for file in (
    QUICKSTART / "bn+in.json", QUICKSTART / "bn.json", Path(__file__).parent / "older" / "record-3.json",
    ROOT / "results" / "randomness-cpu" / "RNA.json") if file.exists()]
STUDIES = [json.loads(file.read_text()) for file in sorted((ROOT / "results").glob("*-smoke/*.json"))
           if '"study"' in file.read_text()]


def written(content: Any, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


@MANY
@given(st.sampled_from(RECORDS).flatmap(damaged))
def test_a_damaged_record_is_refused_or_shown(tmp_path: Path, content: Any) -> None:
    """By everything that reads one."""
    file = written(content, tmp_path / "bn+in.json")
    other = read_record(QUICKSTART / "bn.json")
    try:
        record = whole_record(file)
        markdown([record], "one")
    except RnabenchError as error:
        assert_told(error, lines=1)
    else:
        display([record, other])
    for use in (lambda: judged(other, baseline_record(file)), lambda: read_results(tmp_path),
                lambda: cards([tmp_path], tmp_path / "cards", Authorship("", "", "", "", None)),
                lambda: compare(read_accuracies(tmp_path, "results"), read_accuracies(QUICKSTART, "--against"))):
        try:
            use()
        except RnabenchError as error:
            assert_told(error, lines=1)


@MANY
@given(st.sampled_from(STUDIES).flatmap(damaged))
def test_a_damaged_study_too(tmp_path: Path, content: Any) -> None:
    file = written(content, tmp_path / "figure.json")
    for use in (lambda: whole_study(file), lambda: read_accuracies(tmp_path, "results")):
        try:
            use()
        except RnabenchError as error:
            assert_told(error, lines=1)


@MANY
@given(st.sampled_from(RECORDS + STUDIES).flatmap(damaged))
def test_a_damaged_folder_is_on_the_page_and_so_is_the_rest(tmp_path: Path, content: Any) -> None:
    whole = tmp_path / "all" / "whole"
    if not whole.exists():
        whole.mkdir(parents=True)
        shutil.copy(QUICKSTART / "bn.json", whole)
    written(content, tmp_path / "all" / "changed" / "x.json")
    made = write_page([tmp_path / "all"], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("Every attack under every protocol") >= 1
    assert ("Unreadable" in page) == bool(made.skipped)
    assert made.folders == 2 or kind_of(content) == "other"
    assert str(tmp_path) not in page


def test_all_faults_are_told_at_once_with_their_keys(tmp_path: Path) -> None:
    content = json.loads((QUICKSTART / "bn+in.json").read_text())
    content["threat"]["eps"] = "0.03"
    content["model"]["label"] = 5
    del content["data"], content["digest"]
    content["results"][1]["parameters"]["eps"] = -1
    content["results"][1]["protocol"] = "eot:x"
    with pytest.raises(RnabenchError) as caught:
        read_record(written(content, tmp_path / "x.json"))
    for key in ("threat.eps: '0.03' is not valid; expected a number", "model.label: 5 ", "data: missing",
                "digest: missing", "results.1.parameters.eps: -1 is not valid; expected at least 0",
                "results.1.protocol: 'eot:x' "):
        assert str(caught.value).count(key) == 1
    assert_told(caught.value, lines=1)


@pytest.mark.parametrize("content", [{}, [], None, nested(300), {"format": 4, "model": {}, "threat": {}}])
def test_a_record_of_which_nothing_is_left_is_no_reason_to_read_the_table(content: Any, tmp_path: Path) -> None:
    shutil.copytree(QUICKSTART, tmp_path / "new")
    for file in (tmp_path / "new").glob("*.json"):
        written(content, file)
    with pytest.raises(RnabenchError, match=r"bn.*\.json.*expected JSON written by"):
        read_accuracies(tmp_path / "new", "results")
    for file in (tmp_path / "new").glob("*.json"):
        file.unlink()
    assert read_accuracies(tmp_path / "new", "results").cells  # a table alone is read
    shutil.copy(ROOT / "results" / "bench-cpu" / "bench.json", tmp_path / "new")
    assert read_accuracies(tmp_path / "new", "results").cells  # and measurements of another kind are no records


def test_a_folder_that_cannot_be_drawn_does_not_stop_the_page(tmp_path: Path) -> None:
    """Here its records contradict each other, which no single one of them shows."""
    shutil.copytree(QUICKSTART, tmp_path / "all" / "whole")
    shutil.copytree(QUICKSTART, tmp_path / "all" / "changed")
    (tmp_path / "all" / "empty").mkdir()
    (tmp_path / "all" / "empty" / "x.json").write_text("{}")
    with pytest.MonkeyPatch.context() as patch:
        import rnabench.report.page.sections as sections

        def fails(records: Any) -> list[str]:
            if len(records) > 1 and next(calls):
                raise KeyError("pgd20")
            return real(records)

        real, calls = sections.verdicts, iter([True, False])
        patch.setattr(sections, "verdicts", fails)
        made = write_page([tmp_path / "all"], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert (made.folders, len(made.skipped)) == (3, 2)
    assert "folder &#39;changed&#39; cannot be shown (KeyError: &#39;pgd20&#39;)" in page
    assert "&#39;x.json&#39; is no record" in page


@pytest.mark.parametrize("read", [read_record, baseline_record, lambda file: read_accuracies(file, "results"),
                                  lambda file: cards([file], None, Authorship())])
def test_a_record_whose_numbers_are_not_its_outcomes_is_none(read: Callable[[Path], object], tmp_path: Path) -> None:
    content = json.loads((QUICKSTART / "bn.json").read_text())
    read(written(content, tmp_path / "x.json"))
    content["results"][1]["accuracy"] = 0.999
    with pytest.raises(RnabenchError, match=r"expected accuracy .*, as its outcomes say, got 0\.999"):
        read(written(content, tmp_path / "x.json"))
    content = json.loads((QUICKSTART / "bn.json").read_text())
    content["headline"]["worst_of_draws"] = 0.999
    with pytest.raises(RnabenchError, match="contradicts itself: worst_of_draws of worst case"):
        read(written(content, tmp_path / "x.json"))
    content = json.loads((QUICKSTART / "bn+in.json").read_text())
    content["results"] = [result for result in content["results"] if not result["protocol"].startswith("eot:")]
    with pytest.raises(RnabenchError, match="it states a worst case, and none of its attacks makes one"):
        read(written(content, tmp_path / "x.json"))
