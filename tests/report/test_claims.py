"""Claims of order: what one says of two methods, its reverse says the other way round; several share one error rate."""

from __future__ import annotations

import pytest

from rnabench.report.claims import ENDS, Answer, answers, sentences
from rnabench.report.record import Record
from rnabench.scoring.significance import holm
from rnabench.settings.recipe import Claim
from tests.report.records import changed, model, trainings


def claim(higher: str, *lower: str) -> Claim:
    return Claim(says="so", higher=higher, lower=lower, attack="pgd10")


def answer(asked: Claim, records: list[Record]) -> Answer:
    (found,) = answers([asked], records)
    return found


def test_the_reverse_is_the_other_way_round() -> None:
    records = [model("a", 0.8, 1), model("b", 0.5, 2)]
    there, back = answer(claim("a", "b"), records).made, answer(claim("b", "a"), records).made
    assert [each.protocol for each in there] == [each.protocol for each in back] == ["paper", "eot:10"]
    for one, other in zip(there, back, strict=True):
        assert (one.end, other.end) == ("shown", "the other way round")
        assert one.found.difference.gap == pytest.approx(-other.found.difference.gap)
        low, high = other.found.difference.interval()
        assert one.found.difference.interval() == pytest.approx((-high, -low))
        assert one.found.difference.gap == pytest.approx(0.3, abs=0.02)


def test_a_model_is_not_shown_to_be_above_itself_and_equals_seldom_are() -> None:
    record = model("a", 0.7, 1)
    twin = changed(record, model={"label": "b", "method": "b"})
    for made in answer(claim("a", "b"), [record, twin]).made:
        assert (made.found.difference.gap, made.end) == (0, "not shown")
    ends = [made.end for seed in range(20) for made in answer(
        claim("a", "b"), [model("a", 0.7, seed), model("b", 0.7, 100 + seed)]).made]
    assert ends.count("not shown") >= 0.85 * len(ends)


def test_only_what_was_attacked_alike_is_compared() -> None:
    records = [model("a", 0.8, 1), model("b", 0.5, 2, fewer=100)]
    assert {each.other for each in answer(claim("a", "b", "c"), records).made} == {"b"}
    assert sentences([Claim(says="so", higher="a", lower=("b",), attack="pgd50")], records) == []
    assert sentences([claim("c", "a")], records) == []


@pytest.mark.parametrize(("part", "name", "value", "why"), [
    ("data", "fingerprint", "another", "on different images"),
    ("data", "indices", list(range(397)), "on different images"),
    ("threat", "eps", 0.5, "under different threat models"), ("threat", "norm", "L2", "under different threat models")])
def test_what_met_other_images_or_another_threat_is_not_compared(part: str, name: str, value: object, why: str) -> None:
    """Images with the same position are not the same images."""
    one, third = model("a", 0.8, 1), model("c", 0.5, 3)
    other = changed(model("b", 0.5, 2), **{part: {name: value}})
    (said,) = sentences([claim("a", "b", "c")], [one, other, third])
    assert f"a and b were attacked {why}: they are not compared." in said
    assert " b +" not in said
    assert "shown against c +" in said
    (said,) = sentences([claim("a", "b")], [one, other])
    assert said == f"The paper: so. a and b were attacked {why}: they are not compared."


def test_the_sentence_names_every_comparison_with_its_interval() -> None:
    records = [model("a", 0.6, 1), model("b", 0.3, 2), model("c", 0.6, 3), model("d", 0.9, 4)]
    (said,) = sentences([claim("a", "b", "c", "d")], records)
    assert all(said.count(f" {name} ") == 2 for name in "bcd")  # under both protocols
    assert all(said.count(f"{end} against") == 2 for end in ENDS if end != "shown")
    for each in answer(claim("a", "b", "c", "d"), records).made:
        low, high = each.found.difference.interval()
        shown = f"{each.other} {100 * each.found.difference.gap:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
        assert shown in said
        assert (f"{shown} (seen from {100 * each.seen_from:.1f})" in said) == (each.end == "not shown")
    assert "pgd10, one training each, points" in said


def test_all_comparisons_of_a_table_share_one_error_rate() -> None:
    records = [model("a", 0.7, 1), *(model(f"b{k}", 0.69, 2 + k) for k in range(4))]
    claims = [claim("a", "b0", "b1"), claim("a", "b2", "b3")]
    made = [each for found in answers(claims, records) for each in found.made]
    assert [each.p_value for each in made] == holm([each.found.difference.p_value for each in made])
    assert all(each.tests == len(made) == 8 for each in made)
    for each in made:
        assert each.seen_from == each.found.difference.detectable(0.8, 1 - 0.05 / 8)
        assert each.end == "shown" or abs(each.found.difference.gap) < each.seen_from
    alone = [each for asked in claims for each in answer(asked, records).made]
    assert all(one.p_value >= other.p_value for one, other in zip(made, alone, strict=True))


def test_a_claim_about_methods_is_tested_over_trainings() -> None:
    """Networks that differ clearly, of methods that do not: their trainings are as far apart."""
    lucky, unlucky = trainings("a", [0.8, 0.6, 0.7]), trainings("b", [0.65, 0.75, 0.7], 1)
    one = answer(claim("a", "b"), [changed(lucky[0], model={"label": "a"}), unlucky[0]]).made
    assert {(each.end, each.found.basis) for each in one} == {("shown", "one training each")}
    several = answer(claim("a", "b"), [*lucky, *unlucky]).made
    assert {(each.end, each.found.basis) for each in several} == {("not shown", "3 trainings each")}
    apart = answer(claim("a", "b"), [*trainings("a", [0.8, 0.81, 0.82]), *trainings("b", [0.5, 0.51, 0.52], 1)]).made
    assert {(each.end, each.found.basis) for each in apart} == {("shown", "3 trainings each")}


def test_where_only_one_side_has_several_trainings_the_first_is_compared() -> None:
    many, one = trainings("a", [0.8, 0.1, 0.1]), model("b", 0.5, 7)
    for each in answer(claim("a", "b"), [*many, one]).made:
        assert each.found.basis == "one training each"
        assert each.found.difference.gap == pytest.approx(0.3, abs=0.03)
    (said,) = sentences([claim("a", "b", "c")], [*many, one, *trainings("c", [0.5, 0.5], 2)])
    assert "b +" in said
    assert "(one training each" in said
    assert "(3 against 2 trainings" in said


def test_natural_accuracies_are_compared_once_on_all_images() -> None:
    asked = Claim(says="so", higher="a", lower=("b",), attack="natural")
    (made,) = answer(asked, [model("a", 0.8, 1), model("b", 0.5, 2)]).made
    assert (made.end, made.protocol) == ("shown", "any")
    assert made.found.difference.gap == pytest.approx(0.3, abs=0.03)
