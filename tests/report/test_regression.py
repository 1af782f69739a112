"""A comparison finds every planted regression, in either direction, and nothing where there is none."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnabench.report.accuracies import Results
from rnabench.report.record import Record
from rnabench.report.regression import ABSENT, compare, markdown
from rnabench.scoring.outcome import Bits
from tests.report.planted import Records, broken, cell, compared, every_result, kinds, removed, rescored, set_at


def other_eps(records: Records) -> None:
    for record in records.values():
        record["threat"]["eps"] *= 2
    for each in every_result(records):
        if "eps" in each["parameters"]:
            each["parameters"]["eps"] *= 2


def other_norm(records: Records) -> None:
    for record in records.values():
        record["threat"]["norm"] = "L2"


SETTING, NETWORK, SANITY = "with other settings", "records with other settings", "sanity checks worse"
PLANTED: dict[str, tuple[Callable[[Records], None], str]] = {
    "an accuracy fell": (lambda records: rescored(records["bn"], 2, broken(0.1)), "fell"),
    "an accuracy rose": (lambda records: rescored(records["bn"], 2, broken(1, True)), "rose"),
    "natural accuracy fell": (lambda records: rescored(records["bn+in"], 0, broken(0.1)), "fell"),
    "a cell vanished": (removed("bn+in", "results", 1), "vanished"),
    "a model vanished": (removed("bn"), "vanished"),
    "a check warns": (set_at("WARN", "bn", "sanity", "flags", 0, "status"), SANITY),
    "a check fails": (set_at("FAIL", "bn+in", "sanity", "flags", 4, "status"), SANITY),
    "a check vanished": (removed("bn+in", "sanity", "flags", 2), SANITY),
    "a cell is unreliable": (set_at(True, "bn", "results", 1, "unreliable"), "newly unreliable"),
    "eps by a factor": (other_eps, SETTING),
    "another norm": (other_norm, SETTING),
    "fewer steps": (set_at(5, "bn", "results", 2, "parameters", "steps"), SETTING),
    "a parameter vanished": (removed("bn", "results", 2, "parameters", "random_start"), SETTING),
    "paths per sample": (set_at("sample", "bn+in", "results", 2, "draws_are"), SETTING),
    "a part of the images": (lambda records: rescored(records["bn"], 0, lambda correct: correct[:390]), SETTING),
    "another data set": (set_at("mnist", "bn", "data", "name"), SETTING),
    "other images": (set_at("0" * 16, "bn", "data", "fingerprint"), NETWORK),
    "another architecture": (set_at("wrn32", "bn", "model", "arch"), NETWORK),
    "swapped normalisers": (set_at("bn+ln", "bn+in", "model", "space"), NETWORK),
    "one draw for all layers": (set_at(True, "bn+in", "model", "layer_based"), NETWORK),
    "another training": (set_at("standard", "bn+in", "model", "objective"), NETWORK),
}


@pytest.mark.parametrize("regression", PLANTED)
def test_every_planted_regression_is_found_and_named(regression: str, committed: Records, tmp_path: Path) -> None:
    records = copy.deepcopy(committed)
    plant, kind = PLANTED[regression]
    plant(records)
    comparison = compared(records, committed, tmp_path)
    assert comparison.failed
    assert kinds(comparison) == {kind}
    assert kind in comparison.summary
    assert {line.shown for line in comparison.lines if line.problems} <= set(comparison.rows())
    assert "**FAIL**" in markdown(comparison, "Title")


def test_unchanged_results_pass_whatever_the_clock_the_machine_and_the_seed(committed: Records, tmp_path: Path) -> None:
    records = copy.deepcopy(committed)
    for each in every_result(records):
        each["seconds"] += 100
    for record in records.values():
        record |= {"versions": {"torch": "9"}, "device": {"device": "cuda"}, "git": "other", "digest": "other"}
        record["model"] |= {"weights_sha256": "other", "digest": "other", "selected": None}
        record["evaluation"]["seed"] = 7
    comparison = compared(records, committed, tmp_path)
    assert not comparison.failed
    assert comparison.rows() == []
    assert len(comparison.rows(everything=True)) == comparison.compared == 10
    assert comparison.summary == "10 cells compared: 10 pass"
    assert list(comparison.notes) == [
        "bn: seed 7, was 0", "bn+in: seed 7, was 0",
        "10 cells of networks trained anew, one training a side: their intervals do not count its luck"]


def test_new_cells_are_mentioned_only(committed: Records, tmp_path: Path) -> None:
    fewer = copy.deepcopy(committed)
    del fewer["bn+in"]["results"][1], fewer["bn"]
    comparison = compared(committed, fewer, tmp_path)
    assert not comparison.failed
    assert [row[3] for row in comparison.rows()] == ["new"] * 5
    assert comparison.summary.endswith("new cells: 5")


@pytest.mark.parametrize(("was", "status", "worse"), [
    ("PASS", "PASS", False), ("PASS", "WARN", True), ("PASS", "FAIL", True), ("WARN", "FAIL", True),
    ("FAIL", "WARN", False), ("WARN", "PASS", False), ("n/a", "FAIL", False), ("PASS", "n/a", False),
    ("WARN", ABSENT, True), ("FAIL", ABSENT, False), ("n/a", ABSENT, False),
])
def test_only_a_worse_flag_counts(was: str, status: str, worse: bool, committed: Records, tmp_path: Path) -> None:
    records = [copy.deepcopy({"bn": committed["bn"]}) for _ in range(2)]
    for side, value in zip(records, (status, was), strict=True):
        if value == ABSENT:
            del side["bn"]["sanity"]["flags"][0]
        else:
            side["bn"]["sanity"]["flags"][0]["status"] = value
    comparison = compared(*records, tmp_path)
    assert comparison.failed == worse
    assert bool(comparison.notes) == (was != status and "n/a" in (was, status))


@pytest.mark.parametrize("table", ["new", "old", "new and old"])
@pytest.mark.parametrize("regression", [None, "an accuracy rose", "a model vanished", "eps by a factor",
                                        "a cell is unreliable"])
def test_a_table_alone_finds_nothing_else(table: str, regression: str | None, committed: Records, tmp_path: Path
                                              ) -> None:
    records = copy.deepcopy(committed)
    if regression is not None:
        PLANTED[regression][0](records)
    whole = compared(records, committed, tmp_path / "records")
    alone = compared(records, committed, tmp_path / "table", table)
    found, possible = ({(line.name, problem.kind) for line in each.lines for problem in line.problems}
                       for each in (alone, whole))
    assert bool(found) == bool(possible)
    assert found <= possible  # with outcomes to pair, more is found
    numbers = [sorted(row[:3] + row[5:8] for row in each.rows(everything=True)) for each in (alone, whole)]
    assert numbers[0] == numbers[1]


def test_another_draw_of_the_same_probabilities_passes(committed: Records) -> None:
    """Of 40 re-runs, each scored on fresh draws, at least 95 % pass as a whole."""
    rng = np.random.default_rng(0)
    outcomes = outcomes_of(committed)
    old = Results({key: cell(*outcome) for key, outcome in outcomes.items()})
    passed = 0
    for _ in range(40):
        new = {key: cell(rng.random(correct.shape) < correct.mean(1, keepdims=True), batches)
               for key, (correct, batches) in outcomes.items()}
        passed += not compare(Results(new), old).failed
    assert passed >= 38


def outcomes_of(records: Records) -> dict[tuple[str, str, str], tuple[Bits, Any]]:
    return {(name, *outcome.key): (outcome.correct, outcome.groups)
            for name, record in ((name, Record.model_validate(content)) for name, content in records.items())
            for outcome in map(record.outcome, record.results)}


@pytest.mark.parametrize(("share", "images"), [(0.5, 64), (0.8, 400), (0.95, 200)])
def test_independent_samples_pass_about_as_often_as_the_interval_says(share: float, images: int) -> None:
    """A cell on other images too, drawn afresh on both sides: 95 of 100, give or take the simulation's own error."""
    rng = np.random.default_rng(1)
    sides = [[Results({("m", "a", "p"): cell(rng.random((images, 1)) < share)}) for _ in range(1000)] for _ in range(2)]
    moved = sum(compare(*pair).failed for pair in zip(*sides, strict=True))
    assert 0.02 <= moved / 1000 <= 0.07


@given(first=st.integers(0, 50), second=st.integers(0, 50))
def test_a_fall_and_a_rise_are_judged_alike(first: int, second: int) -> None:
    one, two = (Results({("m", "a", "p"): cell(np.arange(50)[:, None] < right)}) for right in (first, second))
    (forth,), (back,) = compare(one, two).lines, compare(two, one).lines
    assert forth.judgement is not None
    assert back.judgement is not None
    assert forth.judgement.flagged_from == back.judgement.flagged_from
    assert forth.change == -(back.change or 0)
    turned = {"rose": "fell", "fell": "rose"}
    assert [turned[problem.kind] for problem in forth.problems] == [problem.kind for problem in back.problems]
    assert not (first == second and forth.problems)
    assert forth.problems or abs(first - second) < 50


@given(right=st.integers(0, 100), before=st.integers(0, 100), tolerance=st.integers(0, 100))
def test_a_tolerance_takes_the_place_of_the_interval(right: int, before: int, tolerance: int) -> None:
    new, old = (Results({("m", "a", "p"): cell(np.arange(100)[:, None] < count)}) for count in (right, before))
    assert compare(new, old, tolerance).failed == (abs(right - before) > tolerance)
