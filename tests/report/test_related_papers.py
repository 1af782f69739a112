"""Tables of related papers: whose numbers they are, columns under other protocols, gains, and what is no accuracy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rnabench.report.claims import claims_of
from rnabench.report.comparison import comparison, write_comparison
from rnabench.report.record import Record, Result
from rnabench.report.scores import judged
from rnabench.scoring.outcome import Outcome
from rnabench.settings.deployment import Deployment
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.recipe import Claim, Defined, Recipe
from tests.report.records import changed, handmade

IMAGES = 20
BN = Defined(dataset="cifar10", arch="resnet20", space="bn", objective="standard")
SORS = Defined(dataset="cifar10", arch="rs-resnet18", space="gn32", objective="sors")


def record(label: str, right: dict[tuple[str, str], int], randomised: bool, **of_attack: object) -> Record:
    """A record in which an attack under a protocol leaves so many of 20 images right."""
    results = []
    for (attack, protocol), count in right.items():
        correct = (np.arange(IMAGES) < count)[:, None]
        outcome = Outcome(attack, protocol, correct, correct[:, 0], correct[:, 0], np.arange(IMAGES))
        kind, _, eps = attack.partition("@")
        parameters = {} if attack == "natural" else {
            "kind": kind.rstrip("0123456789"), "eps": float(eps.removesuffix("/255") or 8) / 255,
            "backend": "native", **of_attack}
        results.append(Result.of(outcome, "group" if randomised else "-", parameters))
    made = judged(handmade(label, results, randomised, 2 if randomised else None, IMAGES))
    return changed(made, model={"method": label, "arch": "resnet20", "width": 16, "parameters": 177_000})


def cells(records: list[Record], table: str, models: dict[str, Defined]) -> dict[str, dict[str, str]]:
    found = comparison(records, table, models)
    return {name: dict(zip(found.headings, line, strict=True)) for name, line in found.lines}


def recipe(published: str, claims: tuple[Claim, ...] = ()) -> Recipe:
    return Recipe(name="x", title="X", models={}, baseline=None, test=None, evaluate=EvaluationSettings(), table=(),
                  figures={}, published=published, claims=claims)


def test_a_gain_is_relative_to_the_same_network_with_its_own_statistics() -> None:
    attack = "pgd20@1/255"
    batch = BN.model_copy(update={"deploy": Deployment(statistics="batch")})
    models = {"P": BN, "B": batch, "other": Defined(space="in")}
    records = [record(name, {(attack, "any"): count}, False) for name, count in (("P", 8), ("B", 12), ("other", 1))]
    shown = cells(records, "robustnorm-table4", models)
    assert shown["B"][f"gain {attack}"] == "+50.0 (paper 101.70)"
    assert shown["P"][f"gain {attack}"] == shown["other"][f"gain {attack}"] == "-"
    nothing_left = [record("P", {(attack, "any"): 0}, False), records[1]]
    assert cells(nothing_left, "robustnorm-table4", models)["B"][f"gain {attack}"] == "- (paper 101.70)"


def test_columns_stand_under_the_papers_protocol_or_the_one_that_they_name() -> None:
    run = {("pgd7@8/255", "resample"): 10, ("pgd7@8/255", "paper"): 16, ("pgd7@8/255", "eot:2"): 8,
           ("pgd7@8/255", "eot:20"): 4}
    shown = cells([record("S", run, True)], "sors-table3+sors-table9", {"S": SORS})["S"]
    assert shown["pgd7@8/255"].startswith("50.0 ")
    assert shown["pgd7@8/255"].endswith("(paper 9.40)")
    assert shown["pgd7@8/255 eot:2"].startswith("40.0 ")
    assert shown["pgd7@8/255 eot:2"].endswith("(paper 5.44)")
    assert shown["pgd7@8/255 paper"].startswith("80.0 ")
    assert shown["pgd7@8/255 eot:20"].startswith("20.0 ")
    assert shown["pgd7@8/255 eot:3"] == "- (paper 3.81)"
    assert list(shown).count("pgd7@8/255 eot:2") == 1


def test_a_shorter_attack_stands_in_the_column_of_its_own_eps() -> None:
    run = {("square500@2/255", "any"): 10, ("square500@8/255", "any"): 5}
    found = comparison([record("P", run, False, queries=500)], "robustnorm-table6", {"P": BN})
    assert {heading for heading in found.headings if "here" in heading} == {
        "square5000@2/255 (here square500@2/255)", "square5000@8/255 (here square500@8/255)"}
    assert "The column square5000@2/255 holds square500@2/255 here (queries 500, the paper's 5000)." in found.notes
    shown = dict(zip(found.headings, found.lines[0][1], strict=True))
    assert shown["square5000@2/255 (here square500@2/255)"].startswith("50.0 ")


def test_a_note_compares_with_what_the_paper_states() -> None:
    run = {("cw10-short", "any"): 10}
    made = record("P", run, False, kind="cw", steps=10, c=0.1, searches=2, kappa=0.0)
    assert comparison([made], "robustnorm-table3", {"P": BN}).notes == (
        "The column cw holds cw10-short here (the same parameters).",)


def test_numbers_of_parameters_are_those_of_the_network() -> None:
    lenet = Defined(dataset="mnist", arch="rs-lenet5", space="none", objective="sors")
    made = record("S", {("pgd7@50/255", "resample"): 10}, True)
    found = comparison([made], "sors-table8", {"other": lenet})
    assert dict(zip(found.headings, found.lines[0][1], strict=True))["parameters"] == "0.177"


@pytest.mark.parametrize(("table", "who", "attack"), [
    ("table1", "The paper", "pgd20"), ("robustnorm-table2", "The RobustNorm paper", "pgd20@2/255"),
    ("sors-table3", "The SORS paper", "pgd7@2/255"), ("thesis-table5-1", "The thesis", "pgd20")])
def test_a_claim_is_its_papers(table: str, who: str, attack: str) -> None:
    records = [record("a", {(attack, "any"): 15}, False), record("b", {(attack, "any"): 5}, False)]
    claim = Claim(says="a is better", higher="a", lower=("b",), attack=attack)
    (said,) = claims_of(recipe(table, (claim,)), records)
    assert said.startswith(f"{who}: a is better.")
    no_paper = recipe(table, (claim,)).model_copy(update={"published": None})
    assert claims_of(no_paper, records)[0].startswith("Claimed: ")


def test_a_claim_holds_under_the_white_box_of_the_sors_paper_too() -> None:
    records = [record(name, {("pgd7@2/255", "resample"): count}, True) for name, count in (("a", 18), ("b", 2))]
    claim = Claim(says="a is better", higher="a", lower=("b",), attack="pgd7@2/255")
    assert "under `resample`" in claims_of(recipe("sors-table3", (claim,)), records)[0]


@pytest.mark.parametrize(("table", "who", "theirs", "others"), [
    ("robustnorm-table2", "the RobustNorm paper", "cifar10", ("200 epochs", "one path is attacked")),
    ("thesis-table5-1", "the thesis", "imagenet", ("200 epochs", "one path is attacked")),
    ("sors-table3", "the SORS paper", "cifar10", ("200 epochs", "the paper does not have"))])
def test_the_page_names_the_paper_and_what_its_numbers_are_of(tmp_path: Path, table: str, who: str, theirs: str,
                                                              others: tuple[str, ...]) -> None:
    """Whatever the data set is for which a recipe has the paper's networks."""
    written = recipe(table).model_copy(update={"defined": {"P": BN}})
    write_comparison([record("P", {("natural", "any"): 10}, False)], written, tmp_path)
    page = " ".join((tmp_path / "paper.md").read_text().split())
    assert f"beside {who}'s" in page
    assert f"and {who}'s number." in page
    assert f"as {who}'s numbers, on {theirs}:" in page
    if table != "sors-table3":
        assert not any(text in page for text in others)


def test_a_recipe_of_figures_has_the_published_numbers_beside_them(tmp_path: Path) -> None:
    write_comparison([], recipe("sors-table1+sors-figure6"), tmp_path)
    page = (tmp_path / "paper.md").read_text()
    assert "- (paper 0.985)" in page
    assert "- (paper 47.00)" in page
    assert "The SORS paper's numbers are of full networks" in page
    assert "interval" not in page


def test_where_no_attack_of_the_papers_was_run_others_have_columns_of_their_own() -> None:
    network = Defined(dataset="imagenet", arch="resnet50", space="bn", objective="white-box", smooth_gradient="both")
    weaker, own = {("pgd20", "any"): 14}, {("pgd200@4/255", "any"): 8}
    shown = cells([record("both", weaker, False)], "thesis-table5-1", {"both": network})
    assert shown["both"]["pgd200@4/255"] == "- (paper 36.90)"
    assert shown["both"]["pgd20"].startswith("70.0 ")
    with_theirs = cells([record("both", weaker | own, False)], "thesis-table5-1", {"both": network})["both"]
    assert with_theirs["pgd200@4/255"].endswith("(paper 36.90)")
    assert "pgd20" not in with_theirs
