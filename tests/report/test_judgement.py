"""Which test a change is judged by, what it finds, and how often it finds what is not there."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import numpy as np
import pytest

from rnabench.report.accuracies import AccuracyKey, Results
from rnabench.report.change import BY_GROUP, BY_IMAGE, BY_TRAINING, INTERVALS, ONE_TRAINING, ByTraining
from rnabench.report.judgement import TOLERANCE, WITH_OTHERS
from rnabench.report.regression import ChangedCell, Regression, compare, markdown
from rnabench.scoring.outcome import Bits
from tests.report.planted import Records, compared, recorded, rescored

SPOT: AccuracyKey = ("m", "a0", "p")
OTHERS: list[AccuracyKey] = [("m", f"a{number}", "p") for number in range(1, 31)]


def first_wrong(correct: Bits, count: int) -> Bits:
    """So many more images wrong, on every draw."""
    found = correct.copy()
    found[np.flatnonzero(correct[:, 0])[:count]] = False
    return found


def flipped(correct: Bits, images: int, rng: np.random.Generator) -> Bits:
    """What rounding may do: some outcomes, of single images on single draws, are a matter of chance."""
    found = correct.copy()
    rows, draws = rng.integers(0, len(correct), images), rng.integers(0, correct.shape[1], images)
    found[rows, draws] = rng.random(images) < 0.5
    return found


def rules(comparison: Regression) -> dict[AccuracyKey, str]:
    return {line.name: line.judgement.rule for line in comparison.lines if line.judgement}


def failing(comparison: Regression) -> list[AccuracyKey]:
    return [line.name for line in comparison.lines if line.problems]


@pytest.mark.parametrize("others", [0, 30])
@pytest.mark.parametrize("draws", [1, 20])
@pytest.mark.parametrize(("images", "wrong"), [(128, 6), (397, 12), (500, 15), (1000, 20)])
def test_a_fall_on_the_same_weights_is_found_among_unchanged_cells(images: int, wrong: int, draws: int, others: int
                                                                   ) -> None:
    """Of 3 points and less; both intervals together let 12, 7, 6 and 4 points pass."""
    correct = np.repeat(np.random.default_rng(0).random((images, 1)) < 0.6, draws, axis=1)
    outcomes = dict.fromkeys([SPOT, *OTHERS[:others]], correct)
    comparison = compare(recorded(outcomes | {SPOT: first_wrong(correct, wrong)}), recorded(outcomes))
    assert failing(comparison) == [SPOT]
    assert set(rules(comparison).values()) == {BY_IMAGE}


def test_three_points_at_500_images_are_found_where_rounding_turns_over_all_other_cells() -> None:
    rng = np.random.default_rng(1)
    base = {key: rng.random((500, 1)) < rng.uniform(0.2, 1) for key in [SPOT, *OTHERS]}
    old, new = ({key: flipped(correct, 20, rng) for key, correct in base.items()} for _ in range(2))
    new[SPOT] = first_wrong(old[SPOT], 15)
    assert failing(compare(recorded(new), recorded(old))) == [SPOT]


def test_a_fall_of_three_points_between_files(committed: Records, tmp_path: Path) -> None:
    records = copy.deepcopy(committed)
    rescored(records["bn"], 1, lambda correct: first_wrong(correct, 12))
    comparison = compared(records, committed, tmp_path)
    assert ("bn", "fgsm", "any") in failing(comparison)
    assert set(rules(comparison).values()) == {BY_IMAGE}
    page = markdown(comparison, "Title")
    assert re.search(rf"\| bn +\| fgsm .*\| fell \(p 0.\d+\) +\| {BY_IMAGE} ", page)
    assert f"- {BY_IMAGE}: the same weights" in page


def test_identical_results_have_nothing_to_find() -> None:
    rng = np.random.default_rng(0)
    results = recorded({key: rng.random((50, 3)) < 0.5 for key in OTHERS})
    for line in compare(results, results).lines:
        assert line.judgement is not None
        assert (line.change, line.judgement.p, line.problems) == (0, 1, ())


def test_how_often_rounding_fails_a_comparison() -> None:
    """Few images turned over, many, single outcomes and draws: of 300 comparisons of 10 cells, about 5 % at most."""
    rng = np.random.default_rng(2)
    base = {key: rng.random((200, int(rng.choice([1, 10])))) < rng.random() for key in OTHERS[:10]}
    failed = sum(compare(*(recorded({key: flipped(correct, 30, rng) for key, correct in base.items()})
                           for _ in range(2))).failed for _ in range(200))
    assert failed / 200 < 0.08


def redrawn(rng: np.random.Generator, truth: Bits, groups: np.ndarray, draws: int) -> Bits:
    """Images of various difficulty, on draws whose luck a group shares."""
    luck = rng.normal(size=(groups.max() + 1, draws))[groups]
    return np.asarray(truth[:, None] + luck + rng.normal(size=(len(truth), draws)) > 0)


def test_how_often_other_draws_fail_a_comparison() -> None:
    """Draws that groups of images share, of another seed: the groups are the samples."""
    rng, groups = np.random.default_rng(3), np.arange(160) // 8
    truth, failed, repetitions = rng.normal(size=160) * 2, 0, 20
    for _ in range(repetitions):
        sides = [recorded({key: redrawn(rng, truth, groups, 3) for key in OTHERS[:3]}, groups, seed)
                 for seed in range(2)]
        comparison = compare(*sides)
        assert set(rules(comparison).values()) == {BY_GROUP}
        failed += comparison.failed
    assert failed / repetitions < 0.12


def test_groups_that_are_others_are_not_paired() -> None:
    correct = np.random.default_rng(0).random((64, 2)) < 0.5
    sides = [recorded({SPOT: correct}, np.arange(64) // size) for size in (8, 16)]
    assert rules(compare(*sides)) == {SPOT: INTERVALS}


def test_draws_of_the_images_own_need_no_groups() -> None:
    rng = np.random.default_rng(4)
    sides = [recorded({SPOT: rng.random((300, 5)) < 0.7}, None, seed) for seed in range(2)]
    assert rules(compare(*sides)) == {SPOT: BY_IMAGE}


def trained(rng: np.random.Generator, level: float, seeds: int, spread: float = 0.01, weights: str = "old") -> Results:
    """A method's networks of several seeds, on 500 images."""
    shares = np.clip(level + spread * rng.normal(size=seeds), 0, 1)
    return recorded({(f"RNA.s{seed}", "a", "p"): np.arange(500)[:, None] < round(500 * share)
                     for seed, share in enumerate(shares)}, weights=weights, method="RNA")


def test_trained_anew_with_several_seeds() -> None:
    """The mean of three trainings beside the spread between them: 6 points of a spread of 1 are found, and of what is
    trained alike about 5 % fail."""
    rng = np.random.default_rng(5)
    fell = compare(trained(rng, 0.5, 3, weights="new"), trained(rng, 0.56, 3))
    (mean,) = [line for line in fell.lines if line.problems]
    assert mean.name == ("RNA: mean of 3, now 3, trainings", "a", "p")
    assert set(rules(fell).values()) == {BY_TRAINING, WITH_OTHERS}
    assert fell.summary == "4 cells compared: 3 pass, 1 fell"
    alike = [compare(trained(rng, 0.5, 3, weights="new"), trained(rng, 0.5, 3)).failed for _ in range(500)]
    assert 0.02 < np.mean(alike) < 0.09


def test_training_luck_is_no_regression() -> None:
    """One seed of three is 4 points off on either side: more than rounding would do, and no more than trainings do."""
    keys = [(f"RNA.s{seed}", "a", "p") for seed in range(3)]
    old, new = ([np.arange(1000)[:, None] < right for right in counts] for counts in ((500, 540, 500), (540, 500, 510)))
    sides = [recorded(dict(zip(keys, side, strict=True)), weights=name, method="RNA")
             for name, side in (("new", new), ("old", old))]
    assert not compare(*sides).failed


def test_one_training_a_side_is_judged_by_intervals_and_says_so() -> None:
    correct = np.arange(500)[:, None] < 300
    old, new = recorded({SPOT: correct}), recorded({SPOT: first_wrong(correct, 15)}, weights="new")
    comparison = compare(new, old)
    assert rules(comparison) == {SPOT: ONE_TRAINING}
    assert not comparison.failed
    assert "one training a side" in comparison.notes[0]
    assert compare(recorded({SPOT: first_wrong(correct, 60)}, weights="new"), old).failed
    assert compare(new, old, tolerance=2).failed
    assert rules(compare(new, old, tolerance=2)) == {SPOT: TOLERANCE}


def test_a_seed_added_to_one_training_is_held_against_the_spread() -> None:
    rng = np.random.default_rng(6)
    one, three = trained(rng, 0.5, 1), trained(rng, 0.5, 3, weights="new")
    assert rules(compare(three, one))["RNA: mean of 1, now 3, trainings", "a", "p"] == BY_TRAINING


def test_a_spread_of_less_than_an_image_cannot_be_told() -> None:
    """Three trainings that happen to be equal do not make the next image a regression."""
    assert ByTraining([0.99] * 3, [0.98] * 3, 100).p > 0.05
    assert ByTraining([0.9] * 3, [0.98] * 3, 100).p < 0.05


def test_what_has_no_outcomes_to_pair_is_judged_by_intervals() -> None:
    correct = np.arange(500)[:, None] < 300
    old, new = (recorded({SPOT: side}) for side in (correct, first_wrong(correct, 15)))
    assert rules(compare(new.as_table(), old)) == {SPOT: INTERVALS}
    assert not compare(new.as_table(), old).failed
    fewer = recorded({SPOT: correct[:400]})
    assert rules(compare(fewer, old)) == {SPOT: INTERVALS}


def test_what_would_have_been_flagged_is_just_what_is() -> None:
    """Where nothing else changes: of n images wrong, the smallest n that fails is what the line of n - 1 said."""
    correct = np.arange(500)[:, None] < 300
    old = recorded(dict.fromkeys([SPOT, *OTHERS], correct))
    for wrong in range(15):
        comparison = compare(recorded(dict.fromkeys(OTHERS, correct) | {SPOT: first_wrong(correct, wrong)}), old)
        line: ChangedCell = next(line for line in comparison.lines if line.name == SPOT)
        assert line.judgement is not None
        assert line.judgement.flagged_from is not None
        assert bool(line.problems) == (wrong / 500 >= line.judgement.flagged_from - 1e-12) == (wrong >= 6)
