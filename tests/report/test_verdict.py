"""Verdicts: a randomised method against its baseline, over trainings where there are several; all share one rate."""

from __future__ import annotations

import re

import pytest

from rnabench.report.record import Record
from rnabench.report.scores import headline, judged
from rnabench.report.verdict import verdicts
from rnabench.scoring.significance import holm
from rnabench.scoring.trainings import compare
from tests.report.records import beside, changed, deterministic, model, trainings

Records = list[Record]


def against(randomised: Records, baselines: Records) -> Records:
    plain = [judged(deterministic(each)) for each in baselines]
    return [*plain, *(beside(each, plain[number % len(plain)]) for number, each in enumerate(randomised))]


def p_value(one: Record, other: Record) -> float:
    ours, theirs = headline(one), headline(other)
    assert ours is not None
    assert theirs is not None
    return compare([ours.outcome], [theirs.outcome]).difference.p_value


def test_one_training_each_is_about_these_networks() -> None:
    (said,) = verdicts(against([model("a", 0.8, 1)], [model("bn", 0.5, 2)]))
    assert "a is more robust than its deterministic baseline bn" in said
    assert "one training each" in said
    assert "could have been seen" not in said
    (said,) = verdicts(against([model("a", 0.5, 1)], [model("bn", 0.8, 2)]))
    assert "a is less robust than" in said


def test_over_trainings_luck_is_no_verdict() -> None:
    lucky, plain = trainings("a", [0.8, 0.6, 0.7]), trainings("bn", [0.65, 0.75, 0.7], 1)
    (said,) = verdicts(against(lucky, plain))
    assert "cannot be told apart" in said
    assert "3 trainings each" in said
    (said,) = verdicts(against(lucky[:1], plain[:1]))
    assert "a is more robust than" in said
    (said,) = verdicts(against(trainings("a", [0.8, 0.81, 0.82]), trainings("bn", [0.5, 0.51, 0.52], 1)))
    assert "a is more robust than" in said
    assert "3 trainings each" in said


def test_what_cannot_be_told_apart_says_what_could_have_been_seen() -> None:
    """More than the gap, and more than half of the interval: a test sees less than its interval's half in half of all
    experiments."""
    (said,) = verdicts(against([model("a", 0.5, 1)], [model("bn", 0.5, 2)]))
    assert "cannot be told apart" in said
    number = r"([-+]?[\d.]+)"
    gap, low, high, seen = map(float, re.findall(
        rf"{number} points \[{number}, {number}\].* a difference of {number} points could have been seen", said)[0])
    assert seen > max(abs(gap), (high - low) / 2)
    assert seen / ((high - low) / 2) == pytest.approx((1.96 + 0.842) / 1.96, rel=0.1)


def test_the_verdicts_of_a_table_share_one_error_rate() -> None:
    """A difference that is shown alone is open among six of which it is the clearest, if it is not clear enough."""
    plain = model("bn", 0.5, 50)
    for seed in range(60):
        records = against([model("a", 0.53, seed)], [plain])
        if 0.01 < p_value(records[1], records[0]) < 0.04:
            break
    (alone,) = verdicts(records)
    assert "cannot be told apart" not in alone
    several = against([model("a", 0.53, seed), *(model(f"m{k}", 0.5, 100 + k) for k in range(5))], [plain])
    adjusted = holm([p_value(each, several[0]) for each in several[1:]])
    for said, p in zip(verdicts(several), adjusted, strict=True):
        assert ("cannot be told apart" in said) == (p >= 0.05)
    assert adjusted[0] > 0.05


@pytest.mark.parametrize(("part", "name", "value", "why"), [
    ("data", "fingerprint", "another", "different images"), ("data", "indices", list(range(397)), "different images"),
    ("threat", "step_size", 0.5, "different threat models")])
def test_only_what_met_the_same_images_and_threat_is_compared(part: str, name: str, value: object, why: str) -> None:
    records = against([model("a", 0.8, 1)], [model("bn", 0.5, 2)])
    records[0] = changed(records[0], **{part: {name: value}})
    (said,) = verdicts(records)
    assert why in said
    assert "not compared" in said
