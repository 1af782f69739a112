"""What the randomness is worth: tries, stochasticity share, threat models and passes, as records' tables show them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rnabench.report import randomness, stochasticity, threat_models, tries
from rnabench.report.passes import frontier, points
from rnabench.report.record import Record, Result
from rnabench.report.record_file import read_record
from rnabench.report.strongest import lowest
from rnabench.scoring.interval import difference
from rnabench.scoring.outcome import Outcome, path_groups
from rnabench.settings.attacks import parse_attack, resolved
from tests.helpers import lively_model, run_evaluation, visible
from tests.report.records import changed, deterministic, handmade, trainings

QUICKSTART = Path(__file__).parents[2] / "results" / "quickstart"
PGD = {"kind": "pgd", "loss": "ce", "restarts": 1, "eps": 8 / 255, "backend": "native"}


def quickstart() -> list[Record]:
    return [read_record(QUICKSTART / f"{name}.json") for name in ("bn", "bn+in")]


def result(attack: str, protocol: str, share: float, parameters: dict[str, object], images: int = 32,
           seed: int = 0) -> Result:
    rng = np.random.default_rng(seed)
    correct = rng.random((images, 4)) < share
    return Result.of(Outcome(attack, protocol, correct, correct[:, 0], rng.random(images) < share / 2,
                             path_groups(0, images, 8)), "group", parameters)


def several() -> Record:
    found = [result("natural", "any", 0.9, {}), result("pgd10", "paper", 0.7, PGD | {"steps": 10}),
             result("pgd20", "eot:5", 0.5, PGD | {"steps": 20}, images=16),
             result("pgd20@16/255", "eot:5", 0.1, PGD | {"steps": 20, "eps": 16 / 255}),
             result("square500", "eot:5", 0.8, {"kind": "square", "queries": 500, "eps": 8 / 255, "backend": "native"})]
    return handmade("RNA", found, attack_paths=8, images=32)


def test_the_last_try_is_what_the_table_calls_worst_and_the_first_its_accuracy() -> None:
    table = {(row["attack"], row["protocol"], row["tries"]): row for row in tries.rows(quickstart())}
    for measured in quickstart()[1].results:
        first, last = (table[measured.attack, measured.protocol, number] for number in (1, measured.draws))
        assert [first["low95"], first["high95"]] == pytest.approx(measured.interval95)
        assert first["accuracy"] == pytest.approx(measured.accuracy)
        assert last["accuracy"] == pytest.approx(measured.worst_of_draws)


def test_same_path_makes_the_images_of_paper_so_that_the_reported_outcome_is_its() -> None:
    """Which is why a stochasticity share needs no further attack."""
    paper, same_path = run_evaluation(lively_model("bn+in"), attacks=["pgd2"], protocols=["paper", "same-path"],
                                      eps="16/255", attack_paths=4)[1:]
    assert np.array_equal(paper.reported, same_path.correct[:, 0])


def test_the_share_is_the_paired_difference() -> None:
    record = several()
    (share,) = stochasticity.shares([record])
    outcome = record.outcome(share.result)
    assert share.difference == difference(outcome.correct, outcome.reported[:, None], outcome.groups)
    assert share.difference.gap == pytest.approx(share.paper - share.same_path)
    (sentence,) = stochasticity.sentences([record])
    assert share.points in sentence
    assert f"{100 * share.same_path:.1f} %" in sentence


def test_no_share_of_draws_that_cannot_be_frozen_or_of_none() -> None:
    assert not stochasticity.shares([changed(several(), model={"replayable": False}), quickstart()[0]])


def test_threat_models_take_the_strongest_attack_of_each_and_say_what_was_not_run() -> None:
    lines = {line[1].partition(" (")[0]: line[2:] for line in threat_models.display([several()])[1]}
    for knows, attack in (("nothing", "square500 / eot:5"), ("the weights", "pgd10 / paper"),
                          ("the distribution", "pgd20 / eot:5")):
        assert all(attack in cell for cell in lines[knows])
    assert all(cell.endswith(", 16 images") for cell in lines["the distribution"])  # fewer than the others
    assert lines["this draw"][0].endswith("pgd10 / same-path")
    assert lines["this draw"][1] == f"- ({threat_models.ONE_DRAW_KNOWN})"
    fewer = changed(several(), results=[each.content() for each in several().results[:2]])
    lines = {line[1].partition(" (")[0]: line[2:] for line in threat_models.display([fewer])[1]}
    assert lines["the distribution"] == ("- (nothing was run under eot:K)",) * 2
    assert lines["nothing"] == ("- (neither square nor a transfer attack was run)",) * 2


def test_knowing_more_leaves_no_more_in_the_quickstart() -> None:
    lines = threat_models.display(quickstart())[1]
    assert {line[0] for line in lines} == {"bn+in"}
    by_knowledge = [float(line[2].split()[0]) for line in lines]
    assert by_knowledge == sorted(by_knowledge, reverse=True)


def test_passes_are_gradients_twice_and_looks_once_for_every_draw_that_is_averaged() -> None:
    found = {point.name: point for point in points(several())}
    assert {name: point.passes for name, point in found.items()} == {
        "pgd10 / paper": 20, "pgd20 / eot:5": 200, "square500 / eot:5": 5005}  # it asks twice a try
    assert {point.images for point in found.values()} == {16}  # which all of them saw


@pytest.mark.parametrize("name", ["arc", "reselect"])
def test_passes_of_attacks_that_ask_all_draws_about_each_are_those_that_they_make(name: str) -> None:
    """ARC asks all paths about each path's try, and a reselection has draws of its own."""
    spec = parse_attack(name)
    parameters = resolved(spec, 8 / 255, 2 / 255) | {"backend": "native"}
    (point,) = points(handmade("RNA", [result(name, "eot:5", 0.5, parameters)], attack_paths=8, images=32))
    assert (point.gradients, point.forwards) == spec.parameters.passes_of(5, 10)
    assert point.forwards > 5 * spec.parameters.passes(True, 10)[1]


def test_images_made_on_another_network_say_nothing_of_the_attacked_path() -> None:
    """Nobody attacked a path of this network: what is `reported` of them is one more fresh draw."""
    other = PGD | {"kind": "transfer", "attack": "pgd20", "steps": 20, "surrogate": "another"}
    record = handmade("RNA", [result("natural", "any", 0.9, {}), result("pgd10", "paper", 0.7, PGD | {"steps": 10}),
                              result("transfer-pgd20", "paper", 0.2, other)], attack_paths=8, images=32)
    assert [share.result.attack for share in stochasticity.shares([record])] == ["pgd10"]
    assert "pgd10 / paper" in stochasticity.sentences([record])[0]


def test_the_frontier_only_falls_and_nothing_lies_below_it() -> None:
    of = points(several())
    best = frontier(of)
    assert [point.accuracy for point in best] == sorted({point.accuracy for point in best}, reverse=True)
    for point in of:
        assert any(other.passes <= point.passes and other.accuracy <= point.accuracy for other in best)


def test_who_is_told_the_draw_is_not_on_the_frontier_of_those_who_are_not() -> None:
    told = [replace(point, protocol="same-path", accuracy=point.accuracy - 0.01) for point in points(several())]
    assert frontier([*told, *points(several())]) == frontier(points(several()))
    assert frontier(told)


def test_files_and_what_is_left_out_where_nothing_is_drawn(tmp_path: Path) -> None:
    randomness.write_randomness(quickstart(), tmp_path / "both", "Title")
    assert visible(tmp_path / "both") == {"randomness.md", *(f"{name}.{ending}" for name in ("tries", "passes")
                                                             for ending in ("csv", "png", "svg"))}
    lines = list(csv.DictReader((tmp_path / "both" / "passes.csv").open()))
    assert {line["model"] for line in lines} == {"bn", "bn+in"}
    plain = [deterministic(record) for record in quickstart()[:1]]
    assert {file.name for file in randomness.write_randomness(plain, tmp_path / "plain", "Title")} == {
        "passes.csv", "passes.png", "passes.svg"}


def test_trainings_share_a_line_of_the_figure() -> None:
    found = tries.curves(trainings("RNA", [0.5, 0.6, 0.7]))
    assert {curve.label.partition(", ")[0] for curve in found} == {"RNA (3 trainings)"}
    assert len({curve.label for curve in found}) == len(found)
    for curve in found:
        assert all(low <= share <= high for share, (low, high) in zip(curve.shares, curve.band, strict=True))


def test_an_attack_that_met_few_lucky_images_is_not_the_strongest() -> None:
    """Of two attacks that do the same, the one on the first, harder images alone has the lower accuracy."""
    hard_first = np.repeat(np.arange(32)[:, None] >= 16, 4, axis=1)
    groups = path_groups(0, 32, 8)
    whole = Outcome("pgd10", "eot:5", hard_first & (np.arange(32) != 20)[:, None], hard_first[:, 0], hard_first[:, 0],
                    groups)
    few = Outcome("pgd20", "eot:5", hard_first, hard_first[:, 0], hard_first[:, 0], groups).first(16)
    assert lowest([few, whole]) == lowest([few, few]) == 0
    assert lowest([whole, few]) == 0
    assert lowest([few, whole], tries=5) is None
