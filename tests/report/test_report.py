"""Records and tables say what the outcomes say."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rnabench
from rnabench.errors import RnabenchError
from rnabench.report.record import Record, Result
from rnabench.report.record_file import read_record, write_record
from rnabench.report.scores import judged, rows
from rnabench.report.sweep import curves, published_points
from rnabench.report.table import display, markdown, write_tables
from rnabench.report.verdict import verdicts
from rnabench.scoring.outcome import Outcome
from rnabench.settings.pixels import in_255ths
from tests.report.records import changed, handmade

RESULTS = Path(__file__).parents[2] / "results"
PGD10 = {"kind": "pgd", "steps": 10, "loss": "ce", "restarts": 1, "eps": 8 / 255, "backend": "native"}


def record(label: str = "bn+in") -> Record:
    correct = np.array([[1, 1, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)
    outcome = Outcome("pgd10", "paper", correct, np.array([1, 0, 1, 0], dtype=bool), correct[:, 0],
                      np.array([0, 1, 0, 1]))
    natural = Outcome("natural", "any", correct, correct[:, 0], correct[:, 0], np.array([0, 1, 0, 1]))
    results = [Result.of(natural, "group", {}), Result.of(outcome, "group", PGD10)]
    return judged(handmade(label, results, attack_paths=2))


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    write_record(record(), tmp_path / "a" / "record.json")
    assert read_record(tmp_path / "a" / "record.json") == record()


def test_numbers_follow_from_the_bits() -> None:
    found = record().results[1]
    correct = found.outcomes.correct.array()
    assert found.accuracy == correct.mean() == 0.5
    assert found.worst_of_draws == correct.all(1).mean() == 0.25
    assert found.majority == found.outcomes.majority.array().mean() == 0.5
    assert found.attack_reported == 0.5
    assert found.draws == 3


def test_every_cell_that_is_printed(tmp_path: Path) -> None:
    headings, cells = display([record()])
    shown = [dict(zip(headings, row, strict=True)) for row in cells]
    attacked = shown[1]
    interval = record().results[1].interval95
    assert attacked["accuracy %"] == "50.0"
    assert attacked["95 % interval"] == f"{100 * interval[0]:.1f} - {100 * interval[1]:.1f} (2 paths)"
    assert attacked["worst"] == "25.0"
    assert attacked["draws"] == "3/group"
    assert shown[0]["reported"] == "-"
    text = markdown([record(), record("bn")], "Title")
    assert "digits, 4 test images, Linf eps 8/255, step 2/255, seed 0" in text
    assert sum(line.startswith("| bn ") for line in text.splitlines()) == 2
    write_tables([record()], tmp_path, "Title")
    lines = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert [float(line["accuracy"]) for line in lines] == [row["accuracy"] for row in rows([record()])]


@pytest.mark.parametrize("name", ["quickstart", "table4-cpu"])
def test_a_folder_as_a_data_frame_says_what_its_table_says(name: str) -> None:
    frame, table = rnabench.read_results(RESULTS / name), pd.read_csv(RESULTS / name / "table.csv")
    keys = ["model", "attack", "protocol"]
    both = frame.merge(table, on=keys, suffixes=("", "_there"), validate="one_to_one")
    assert len(both) == len(frame) == len(table)
    assert set(frame.columns) == {"file", *table.columns}
    for column in set(table.columns) - set(keys):
        here, there = both[column], both[f"{column}_there"]
        assert (here.isna() == there.isna()).all(), column
        assert (here == there)[here.notna()].all(), column
    assert set(frame["file"]) == {f"{model}.json" for model in table["model"]}


def test_a_data_frame_of_all_folders_and_of_one_file(tmp_path: Path) -> None:
    write_record(record(), tmp_path / "a" / "record.json")
    write_record(record(), tmp_path / "b" / "c" / "record.json")
    shutil.copy(RESULTS / "bench-cpu" / "bench.json", tmp_path)
    shutil.copy(RESULTS / "figures-digits" / "figure5c.json", tmp_path)
    assert list(rnabench.read_results(tmp_path)["file"]) == ["a/record.json"] * 2 + ["b/c/record.json"] * 2
    assert len(rnabench.read_results(str(tmp_path / "a" / "record.json"))) == 2
    (tmp_path / "broken.json").write_text('{"format": 4, "results": [')
    with pytest.raises(RnabenchError, match="broken"):
        rnabench.read_results(tmp_path)


@pytest.mark.parametrize("folder", ["bench-cpu", "nowhere"])
def test_where_there_are_no_records_there_is_no_data_frame(folder: str) -> None:
    with pytest.raises(RnabenchError, match="expected a folder"):
        rnabench.read_results(RESULTS / folder)


def test_eps_reads_as_people_write_it() -> None:
    assert in_255ths(8 / 255) == "8/255"
    assert in_255ths(0.1) == "0.1"
    assert in_255ths(0.0) == "0/255"


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": 99, "results": []}'])
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(RnabenchError, match="record"):
        read_record(tmp_path / "x.json")


def test_a_line_of_a_sweep_has_a_point_for_every_value() -> None:
    natural, attacked = (result.content() for result in record().results)
    swept = [natural, *(attacked | {"protocol": f"eot:{samples}"} for samples in (20, 1, 5))]
    (line,) = curves([changed(record(), results=swept)], "samples", ["pgd10"], ["eot:1", "eot:5", "eot:20"])
    assert (line.model, line.protocol) == ("bn+in", "eot:K")
    assert [point[0] for point in line.points] == [1, 5, 20]
    assert all(low <= middle <= high for _, middle, low, high in line.points)
    by_eps = [attacked | {"attack": name, "parameters": attacked["parameters"] | {"eps": eps / 255}}
              for name, eps in (("pgd10@4/255", 4), ("pgd10@2/255", 2))]
    (line,) = curves([changed(record(), results=by_eps)], "eps", ["pgd10@4/255", "pgd10@2/255"], ["paper"])
    assert [point[0] for point in line.points] == pytest.approx([2, 4])


def test_a_verdict_says_who_is_more_robust() -> None:
    def attacked(protocol: str, right: bool) -> list[Result]:
        correct = np.full((12, 3), right)  # of a few images even this could be luck
        return [Result.of(Outcome("pgd10", protocol, correct, correct[:, 0], correct[:, 0], None), "group", PGD10)]

    worse = judged(handmade("plain", attacked("any", False), randomised=False, attack_paths=12, images=12))
    better = judged(handmade("random", attacked("eot:10", True), attack_paths=12, images=12), worse)
    (sentence,) = verdicts([better, worse])
    assert "random is more robust than its deterministic baseline plain" in sentence
    assert "100.0 % against 0.0 %" in sentence
    (sentence,) = verdicts([changed(better, data={"fingerprint": "g"}), worse])
    assert "different images" in sentence


def test_published_points_of_the_sweeps() -> None:
    def of(data: str, space: str, norm: str = "Linf") -> Record:
        swept = [(10, 8), (100, 8), (20, 2), (20, 20), (20, 8)]
        results = [record().results[1].content() | {"parameters": {"kind": "pgd", "steps": steps, "eps": eps / 255}}
                   for steps, eps in swept]
        return changed(record("m"), model={"arch": "resnet18", "space": space}, data={"name": data},
                       threat={"norm": norm}, results=results)
    assert published_points([of("cifar10", "bn+in")], "steps") == [("m", 10, 60.70), ("m", 100, 59.94)]
    assert published_points([of("cifar10-first1000", "bn+in")], "eps") == [("m", 2, 80.06), ("m", 20, 24.90)]
    for other in (of("digits", "bn+in"), of("cifar10", "ln"), of("cifar100", "bn+in"), of("cifar10", "bn+in", "L2")):
        assert published_points([other], "eps") == []
    assert published_points([of("cifar10", "bn+in")], "samples") == []
