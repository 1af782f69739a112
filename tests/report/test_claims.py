"""Claims of order: what one says of two models, its reverse says the other way round."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnabench.evaluation.outcome import bits
from rnabench.recipe_file import Claim
from rnabench.report.claims import ENDS, comparisons, sentences
from rnabench.report.record import read_record

ROOT = Path(__file__).parents[2]


def model(name: str, share: float, seed: int, fewer: int = 0) -> dict[str, Any]:
    """A record of the randomised quickstart network whose PGD-10 outcomes are drawn anew with this accuracy."""
    record = copy.deepcopy(read_record(ROOT / "results" / "quickstart" / "bn+in.json"))
    record["model"]["label"] = name
    rng = np.random.default_rng(seed)
    for result in record["results"]:
        kept = result["outcomes"]
        count = len(kept["majority"]) - fewer
        kept["correct"] = [bits(rng.random(count) < share) for _ in kept["correct"]]
        kept["majority"], kept["reported"] = kept["majority"][:count], kept["reported"][:count]
    return record


def claim(higher: str, *lower: str) -> Claim:
    return Claim(says="so", higher=higher, lower=lower, attack="pgd10")


def test_the_reverse_is_the_other_way_round() -> None:
    records = [model("a", 0.8, 1), model("b", 0.5, 2)]
    there, back = comparisons(claim("a", "b"), records), comparisons(claim("b", "a"), records)
    assert list(there) == list(back) == ["paper", "eot:10"]
    for protocol, (one,) in there.items():
        (other,) = back[protocol]
        assert (one.end, other.end) == ("shown", "the other way round")
        assert one.gap == pytest.approx(-other.gap)
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
        assert one.gap == pytest.approx(0.3, abs=0.02)


def test_a_model_is_not_shown_to_be_above_itself_and_equals_seldom_are() -> None:
    record = model("a", 0.7, 1)
    twin = record | {"model": record["model"] | {"label": "b"}}
    for made in comparisons(claim("a", "b"), [record, twin]).values():
        assert [(each.gap, each.end) for each in made] == [(0, "not shown")]
    ends = [each.end for seed in range(20) for made in comparisons(
        claim("a", "b"), [model("a", 0.7, seed), model("b", 0.7, 100 + seed)]).values() for each in made]
    assert ends.count("not shown") >= 0.85 * len(ends)


def test_only_what_was_attacked_alike_and_on_the_same_images_is_compared() -> None:
    records = [model("a", 0.8, 1), model("b", 0.5, 2, fewer=100)]
    (one,) = comparisons(claim("a", "b", "c"), records)["paper"]
    assert one.other == "b"
    assert sentences([Claim(says="so", higher="a", lower=("b",), attack="pgd50")], records) == []
    assert sentences([claim("c", "a")], records) == []


def test_the_sentence_names_every_comparison_with_its_interval() -> None:
    records = [model("a", 0.6, 1), model("b", 0.3, 2), model("c", 0.6, 3), model("d", 0.9, 4)]
    (said,) = sentences([claim("a", "b", "c", "d")], records)
    assert all(said.count(f" {name} ") == 2 for name in "bcd")  # under both protocols
    assert all(said.count(f"{end} against") == 2 for end in ENDS if end != "shown")
    for made in comparisons(claim("a", "b", "c", "d"), records).values():
        for each in made:
            assert f"{each.other} {100 * each.gap:+.1f} [{100 * each.low:+.1f}, {100 * each.high:+.1f}]" in said
