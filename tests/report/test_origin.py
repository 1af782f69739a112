"""What a reader must know of how numbers were made stands under every table, on the page and on the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rnabench.cli.main import main
from rnabench.report.accuracies import read_accuracies
from rnabench.report.origin import elsewhere, origin_lines, taken_over
from rnabench.report.page.render import write_page
from rnabench.report.record import Record
from rnabench.report.record_file import read_record, write_record
from rnabench.report.regression import compare
from rnabench.report.staleness import reasons
from rnabench.report.table import markdown
from tests.report.records import changed

EARLIER, LATER = "2026-01-02T03:04:05.000+00:00", "2026-01-02T03:04:05.001+00:00"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A record, as the command writes it."""
    folder = tmp_path_factory.mktemp("fresh")
    with pytest.raises(SystemExit) as end:
        main(["attack", "--model", "tests.cli.models:linear", "--attacks", "fgsm", "--n-examples", "4", "--no-sanity",
              "--device", "cpu", "--out", str(folder)])
    assert end.value.code == 0
    return read_record(folder / "record.json")


def named(record: Record, name: str, **parts: Any) -> Record:
    return changed(changed(record, model={"label": name}, digest=name), **parts)


def by(**changes: str) -> dict[str, str]:
    return {"git": "aaaa", "torch": "2.11.0", "device": "cpu", **changes}


def everywhere(records: list[Record], folder: Path) -> tuple[str, str]:
    """`table.md` and the page, without line ends."""
    for record in records:
        write_record(record, folder / f"{record.label}.json")
    write_page([folder], folder / "page.html")
    return markdown(records, "T"), " ".join((folder / "page.html").read_text().split())


def test_a_fresh_record_needs_no_words(fresh: Record, tmp_path: Path) -> None:
    assert reasons(fresh) == []
    assert origin_lines([fresh, named(fresh, "b")]) == []
    assert "WARN" not in everywhere([changed(fresh, model={"label": "a"})], tmp_path)[0]
    for cell in fresh.results:
        assert cell.made_by == fresh.made_by
        assert cell.algorithms is not None
        assert fresh.algorithms is not None
        assert cell.algorithms.items() <= fresh.algorithms.items()


def test_stale_records_are_marked_wherever_they_are_shown(fresh: Record, tmp_path: Path) -> None:
    old = changed(fresh, algorithms=None, settings_digest=None, made_by=[], made=None)
    records = [named(old, "a"), named(fresh, "b"), named(old, "c")]
    line = "a, c: stale (made before algorithms had versions)"
    assert [each.startswith(f"WARN {line}") for each in origin_lines(records)] == [True]
    table, page = everywhere(records, tmp_path)
    assert f"WARN {line}" in table
    assert line in page


def test_cells_of_several_makers_are_a_warning(fresh: Record, tmp_path: Path) -> None:
    mixed = named(fresh, "a", made_by=[by(), by(git="bbbb"), by(torch="2.15.0")])
    table, page = everywhere([mixed, named(fresh, "b", made_by=[by()])], tmp_path)
    for line in ("a: made by 2 revisions: aaaa, bbbb", "a: made by 2 versions of torch: 2.11.0, 2.15.0"):
        assert f"WARN {line}" in table
        assert line in page
    assert "b: made by" not in table


def test_records_of_other_libraries_and_devices_are_told_apart(fresh: Record) -> None:
    other = named(fresh, "b", versions={"torch": "1.0"}, device={"device": "cuda:0", "name": "H"})
    lines = origin_lines([named(fresh, "a"), other, named(fresh, "c")])
    here = fresh.versions["torch"]
    assert lines == [f"WARN not all attacked with the same torch: {here} (a, c); 1.0 (b)",
                     "WARN not all attacked with the same device: cpu (a, c); H (b)"]
    assert elsewhere(other, fresh.versions, "cpu") == [f"torch 1.0, here {here}", "device H, here cpu"]
    assert elsewhere(fresh, fresh.versions, "cpu") == []


def test_networks_of_other_libraries_are_told_apart(fresh: Record) -> None:
    def trained(name: str, torch: str) -> Record:
        training = {"versions": {"torch": torch}, "algorithms": {"streams": 2, "training": 2, "selection": 2}}
        return changed(named(fresh, name), model={"training": training})

    assert "WARN not all trained with the same torch: 1.0 (a); 2.0 (b)" in origin_lines(
        [trained("a", "1.0"), trained("b", "2.0")])


def test_only_what_was_there_before_is_taken_over(fresh: Record) -> None:
    assert taken_over(changed(fresh, made=LATER), LATER, "cpu") is None
    said = taken_over(changed(fresh, made=EARLIER, git="abc"), LATER, "cpu")
    assert said == "taken over: made 2026-01-02 03:04 UTC by revision abc"
    assert "does not say" in str(taken_over(changed(fresh, made=None), LATER, "cpu"))


def test_the_gate_names_other_versions_of_the_algorithms(fresh: Record, tmp_path: Path) -> None:
    """Whether a change is a fault of the code, or the code's own, is for people to say."""
    assert fresh.algorithms is not None
    for name, record in (("new", fresh), ("old", changed(fresh, algorithms={"fgsm": 0})),
                         ("older", changed(fresh, algorithms=None))):
        (tmp_path / name).mkdir()
        write_record(named(record, "a"), tmp_path / name / "a.json")
    new, old, oldest = (read_accuracies(tmp_path / name, "results") for name in ("new", "old", "older"))
    assert compare(new, new).notes == ()
    assert f"a: made by other versions of the algorithms: fgsm {fresh.algorithms['fgsm']}, was 0" in compare(
        new, old).notes
    assert "a: the old one was made before algorithms had versions" in compare(new, oldest).notes
    assert not compare(new, old).failed
