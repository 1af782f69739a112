"""The leaderboard: every attacked network once, in the order that it says, with the numbers of the records."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rnabench.errors import RnabenchError
from rnabench.reference import number, published
from rnabench.report.page.contents import read_folders
from rnabench.report.page.leaderboard import COLUMNS, NONE, Group, Row, leaderboard
from rnabench.report.page.render import write_page
from rnabench.report.page.sections import section
from rnabench.report.paper_table import published_of, read_paper_table
from rnabench.report.record import Record
from rnabench.report.record_file import records_in, write_record
from rnabench.report.standing import Score, standings
from rnabench.report.verdict import verdicts
from rnabench.settings.attacks import parse_attack
from tests.report.records import beside, changed, model, trainings
from tests.report.test_page import Page
from tests.report.test_report import record

RESULTS = Path(__file__).parents[2] / "results"
NAMES = ("quickstart", "table1-cpu", "robustnorm-random-cpu", "table5-smoke")
PLACES = {column.heading: place for place, column in enumerate(COLUMNS, start=-1)}  # of a row's cells
ADAPTIVE, ABOVE = PLACES["adaptive worst case %"], PLACES["above its baseline"]


def groups_of(*roots: Path) -> tuple[Group, ...]:
    folders = read_folders(roots).folders
    return leaderboard(folders, [section(folder, set()) for folder in folders])


@pytest.fixture(scope="module")
def groups() -> tuple[Group, ...]:
    return groups_of(*(RESULTS / name for name in NAMES))


def accuracy(cell: str) -> float | None:
    found = re.match(r"[\d.]+", cell)
    return float(found[0]) if found else None


def test_every_attacked_network_of_the_results_once(groups: tuple[Group, ...]) -> None:
    attacked = {(name, found.method) for name in NAMES for _, found in records_in(RESULTS / name)}
    shown = Counter((row.folder, row.name) for group in groups for row in group.rows)
    assert shown == Counter(attacked)
    titles = [group.title for group in groups]
    assert len(titles) == len(set(titles))


def test_the_best_adaptive_worst_case_first_and_what_is_no_number_to_rely_on_last(groups: tuple[Group, ...]) -> None:
    for group in groups:
        cells = [row.cells[ADAPTIVE].text for row in group.rows]
        reliable = [value for cell in cells if "!" not in cell and (value := accuracy(cell)) is not None]
        assert reliable == sorted(reliable, reverse=True)
        kinds = [2 if cell == NONE else 1 if "!" in cell else 0 for cell in cells]
        assert kinds == sorted(kinds)
    every = [cell.text for group in groups for row in group.rows for cell in row.cells]
    assert any("!" in cell for cell in every), "the case is there"


def test_what_is_not_there_says_why(groups: tuple[Group, ...]) -> None:
    missing = [cell for group in groups for row in group.rows for cell in row.cells if cell.text == NONE]
    assert missing
    assert all(cell.note for cell in missing)


@pytest.mark.parametrize("name", ["quickstart", "table1-cpu"])
def test_numbers_are_those_of_the_records(name: str, groups: tuple[Group, ...]) -> None:
    by_method: dict[str, list[Record]] = {}
    for _, found in records_in(RESULTS / name):
        by_method.setdefault(found.method, []).append(found)
    rows = {row.name: row for group in groups for row in group.rows if row.folder == name}
    for method, records in by_method.items():
        natural, paper, adaptive, tries = (accuracy(rows[method].cells[PLACES[heading]].text) for heading in (
            "natural %", "paper's protocol %", "adaptive worst case %", "after all tries %"))
        eps, protocol = records[0].threat.eps, "paper" if records[0].model.randomised else "any"
        worst = min(np.mean([same.accuracy for each in records for same in each.results
                             if (same.attack, same.protocol) == (result.attack, protocol)])
                    for result in records[0].results
                    if result.bounded and result.protocol == protocol and result.parameters.get("eps") == eps)
        headlines = [each.headline for each in records if each.headline]
        expected = [np.mean([each.results[0].accuracy for each in records]), worst,
                    np.mean([each.accuracy for each in headlines]),
                    np.mean([each.worst_of_draws for each in headlines])]
        assert [natural, paper, adaptive, tries] == [pytest.approx(100 * value, abs=0.05001) for value in expected]
        assert tries is not None
        assert adaptive is not None
        assert tries <= adaptive


def test_the_gap_to_the_baseline_is_that_under_the_same_attacks(groups: tuple[Group, ...]) -> None:
    """A row's own worst case less the one that stands beneath; what is told apart has an interval without zero, and is
    so in the verdict."""
    ends = set()
    for row in (row for group in groups for row in group.rows if row.cells[ABOVE].text != NONE):
        said = re.fullmatch(r"[bn]+ ([\d.]+); ([-+][\d.]+) to ([-+][\d.]+)(: not told apart)?", row.cells[ABOVE].note,
                            re.IGNORECASE)
        assert said, row.cells[ABOVE]
        gap, theirs, low, high = (float(each) for each in (row.cells[ABOVE].text.rstrip("!"), *said.groups()[:3]))
        own = accuracy(row.cells[ADAPTIVE].text)
        assert own is not None
        assert gap == pytest.approx(own - theirs, abs=0.16)
        assert low < gap < high
        assert said[4] or low > 0 or high < 0
        (verdict,) = (each for each in verdicts([found for _, found in records_in(RESULTS / row.folder)])
                      if f", {row.name} " in each)
        assert f"{gap:+.1f} points" in verdict
        assert (f"is {'more' if gap > 0 else 'less'} robust" in verdict) == (said[4] is None)
        ends.add(said[4])
    assert len(ends) == 2, "both are there"
    for row in (row for group in groups for row in group.rows):
        assert not row.marks or "deterministic" not in row.marks[0][0] or row.cells[ABOVE].text == NONE


def test_of_unlike_numbers_of_trainings_the_first_are_compared_and_a_namesake_is_another(tmp_path: Path) -> None:
    for name in ("BN.s0", "RNA.s0", "RNA.s1", "RNA.s2"):
        shutil.copy(RESULTS / "table1-cpu" / f"{name}.json", tmp_path)
    alone = next(found for _, found in records_in(tmp_path) if found.label == "RNA.s1")
    write_record(changed(alone, model={"label": "RNA", "method": "RNA"}, baseline=None), tmp_path / "RNA.json")
    rows = {row.cells[PLACES["trainings"]].text: row.cells[ABOVE] for group in groups_of(tmp_path)
            for row in group.rows if row.name == "RNA"}
    found = re.match(r"first trainings, ([\d.]+) and BN ([\d.]+);", rows["3"].note)
    assert found
    assert float(rows["3"].text) == pytest.approx(float(found[1]) - float(found[2]), abs=0.11)
    assert rows["1"].text == NONE


def test_a_gap_to_rely_on_needs_two_numbers_to_rely_on(tmp_path: Path) -> None:
    shutil.copytree(RESULTS / "randomised-defences-digits", tmp_path / "results")
    rows = [row for group in groups_of(tmp_path) for row in group.rows if row.cells[ABOVE].text != NONE]
    assert {"unreliable" in dict(row.marks) for row in rows} == {True, False}
    assert all(row.cells[ABOVE].text.endswith("!") for row in rows if "unreliable" in dict(row.marks))


def test_marks_and_counts_of_a_method_of_several_trainings(tmp_path: Path) -> None:
    several = trainings("RNA", [0.5, 0.6])
    alone = model("BN", 0.7, 1)
    plain = changed(alone, model={"randomised": False}, headline=None, results=[
        each.content() | {"protocol": "any"} for each in alone.results if not each.protocol.startswith("eot")])
    for each in [plain, *(beside(each, plain) for each in several)]:
        write_record(changed(each, algorithms={"pgd": 0}), tmp_path / f"{each.label}.json")
    rows = {row.name: row for group in groups_of(tmp_path) for row in group.rows}
    assert set(rows) == {"RNA", "BN"}
    counts = {name: row.cells[PLACES["trainings"]].text
              for name, row in rows.items()}
    assert counts == {"RNA": "2", "BN": "1"}
    assert [mark for mark, _ in rows["BN"].marks] == ["deterministic baseline", "stale"]
    assert [mark for mark, _ in rows["RNA"].marks if mark != "unreliable"] == ["stale"]
    (found,) = standings(several, None)
    assert isinstance(found.adaptive, Score)
    assert found.adaptive.sd == pytest.approx(np.std([each.headline.accuracy for each in several if each.headline],
                                                     ddof=1))


def test_the_published_number_is_the_least_under_a_bounded_attack_of_this_eps() -> None:
    table = read_paper_table(RESULTS / "table1-cpu")
    assert table is not None
    lines = published("table1", arch="resnet18", method="RNA")
    bounded = {line["column"]: number(line) for line in lines
               if line["column"] != "natural" and parse_attack(line["column"]).bounded}
    found = published_of(table, "RNA (3 trainings)", 8 / 255)
    assert found is not None
    assert found.accuracy == min(value for value in bounded.values() if value is not None) == bounded[found.attack]
    assert published_of(table, "no such model", 8 / 255) is None
    related = read_paper_table(RESULTS / "robustnorm-random-cpu")
    assert related is not None
    for eps in (2, 4):
        at_eps = published_of(related, "BN", eps / 255)
        assert at_eps is not None
        assert at_eps.attack.endswith(f"@{eps}/255")


def test_smoke_tests_are_shown_where_they_are_asked_for(tmp_path: Path) -> None:
    for name in ("a-smoke", "b"):
        write_record(record(name), tmp_path / name / "record.json")
    shown = [{row.folder for group in leaderboard_of(*given) for row in group.rows} for given in (
        ([tmp_path], False), ([tmp_path], True), ([tmp_path / "a-smoke"], False))]
    assert shown == [{"b"}, {"a-smoke", "b"}, {"a-smoke"}]
    assert write_page([tmp_path], tmp_path / "page.html").smoke == 1
    shutil.rmtree(tmp_path / "b")
    with pytest.raises(RnabenchError, match="--smoke"):
        read_folders([tmp_path])


def leaderboard_of(roots: list[Path], smoke: bool) -> tuple[Group, ...]:
    folders = read_folders(roots, smoke).folders
    return leaderboard(folders, [section(folder, set()) for folder in folders])


def test_tables_come_first_and_measurements_of_speed_last() -> None:
    roots = [RESULTS / name for name in ("bench-cpu", "crosscheck-digits-bn", "quickstart", "figure5-smoke",
                                         "figure1-smoke")]
    assert [folder.name for folder in read_folders(roots).folders] == [
        "figure5-smoke", "quickstart", "figure1-smoke", "bench-cpu", "crosscheck-digits-bn"]


def test_the_page_opens_with_it_and_leads_to_each_recipe(tmp_path: Path) -> None:
    write_page([RESULTS / "quickstart", RESULTS / "bench-cpu"], tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text())
    assert page.tables[0][0] == [column.heading for column in COLUMNS]
    assert {"#quickstart"} <= set(page.values("href"))
    scopes = [attributes["scope"] for tag, attributes in page.tags if tag == "th"]
    assert scopes.count("rowgroup") == 1


def test_names_stand_there_in_full(groups: tuple[Group, ...]) -> None:
    rows: list[Row] = [row for group in groups for row in group.rows]
    longest = max((found for _, found in records_in(RESULTS / "table5-smoke")), key=lambda each: len(each.model.space
                                                                                                     or ""))
    assert any(str(longest.model.space) in row.network for row in rows)
