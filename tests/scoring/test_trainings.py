"""Two methods over several trainings: Welch's test where trainings are all that varies, images where these are, too."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm, ttest_ind

from rnabench.scoring.outcome import Outcome
from rnabench.scoring.trainings import Compared, compare, spread


def outcome(correct: NDArray[np.bool_]) -> Outcome:
    """Of [images, draws]."""
    return Outcome("pgd20", "paper", correct, correct.any(1), correct.any(1), None)


def of(*shares: float) -> list[Outcome]:
    """Trainings of just these accuracies on 1,000 images."""
    return [outcome((np.arange(1000) < 1000 * share)[:, None]) for share in shares]


def drawn(rng: np.random.Generator, apart: float, trainings: int, images: int, sds: tuple[float, float, float, float]
          ) -> tuple[list[Outcome], list[Outcome], float]:
    """Trainings of two methods, and how far apart these are in truth.

    What decides whether an image is right is a sum of normal parts: the method's level, its training's luck, the
    image's ease, its ease for the method, its ease for the training. `sds` are those of the last four.
    """
    level, ease = (0.0, -apart), rng.normal(0, sds[1], images)
    sides = []
    for each in level:
        own = rng.normal(0, sds[2], images)
        score = each + rng.normal(0, sds[0], (trainings, 1)) + ease + own + rng.normal(0, sds[3], (trainings, images))
        sides.append([outcome(row[:, None] > 0) for row in score])
    whole = math.sqrt(sum(sd**2 for sd in sds))
    return sides[0], sides[1], float(norm.cdf(level[0] / whole) - norm.cdf(level[1] / whole))


def test_where_only_trainings_vary_it_is_welchs_test() -> None:
    """100,000 images: what is left is the spread of the accuracies."""
    first, second = [0.62, 0.66, 0.70], [0.55, 0.60, 0.56, 0.57]
    rng = np.random.default_rng(1)
    sides = [[outcome(rng.random((100_000, 1)) < share) for share in shares] for shares in (first, second)]
    found = compare(*sides)
    welch = ttest_ind(*([float(each.correct.mean()) for each in side] for side in sides), equal_var=False)
    assert found.trainings == (3, 4)
    assert found.basis == "3 against 4 trainings"
    assert found.difference.gap == pytest.approx(found.first - found.second)
    assert found.difference.degrees == pytest.approx(welch.df, rel=0.05)
    assert found.difference.error == pytest.approx(found.difference.gap / welch.statistic, rel=0.02)
    assert found.difference.p_value == pytest.approx(welch.pvalue, rel=0.1)


def test_the_variance_is_that_of_the_two_way_layout() -> None:
    """Trainings by images, both random: between trainings plus between images, less the interaction, held by both."""
    sides = drawn(np.random.default_rng(7), 0.4, 4, count := 2000, (0.1, 1.0, 0.6, 0.4))[:2]
    tables = [np.stack([each.correct[:, 0] for each in side]).astype(float) for side in sides]
    apart = tables[0].mean(0) - tables[1].mean(0)
    expected = float(apart.var(ddof=1)) / count
    for table in tables:
        interaction = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
        both = float((interaction**2).sum()) / (3 * (count - 1))
        expected += float(table.mean(1).var(ddof=1)) / 4 - both / (4 * count)
    assert compare(*sides).difference.error == pytest.approx(math.sqrt(expected), rel=0.01)


@pytest.mark.parametrize("sds", [(0.1, 1.0, 0.0, 0.5), (0.02, 1.0, 0.5, 0.5), (0.3, 1.0, 0.3, 0.5)],
                         ids=["trainings", "images", "both"])
def test_the_interval_covers_the_truth_for_other_trainings_and_other_images(sds: tuple[float, float, float, float]
                                                                              ) -> None:
    """Welch's alone covers it in 0.82 of such experiments where some images are easy for one of the methods only."""
    rng, covered = np.random.default_rng(2), []
    for _ in range(250):
        first, second, truth = drawn(rng, 0.3, 5, 100, sds)
        low, high = compare(first, second).difference.interval()
        covered.append(low <= truth <= high)
    assert 0.92 <= np.mean(covered) <= 0.99


def test_what_could_have_been_seen_is_seen_in_four_of_five_experiments() -> None:
    """The difference that one experiment names is shown in 80 % of others that have it in truth."""
    rng, sds = np.random.default_rng(3), (0.1, 1.0, 0.2, 0.5)

    def experiment(apart: float) -> Compared:
        return compare(*drawn(rng, apart, 4, 200, sds)[:2])

    named = [experiment(0.0).difference.detectable() for _ in range(100)]
    whole = math.sqrt(sum(sd**2 for sd in sds))
    apart = -whole * float(norm.ppf(0.5 - np.mean(named)))
    seen = np.mean([experiment(apart).difference.p_value < 0.05 for _ in range(200)])
    assert seen == pytest.approx(0.8, abs=0.08)
    assert np.mean([experiment(0.0).difference.p_value < 0.05 for _ in range(200)]) <= 0.09


def test_the_order_of_trainings_and_of_methods_does_not_matter() -> None:
    first, second, _ = drawn(np.random.default_rng(4), 0.2, 3, 50, (0.1, 1.0, 0.2, 0.5))
    there, back = compare(first, second).difference, compare(second[::-1], first[::-1]).difference
    assert (there.gap, there.error) == pytest.approx((-back.gap, back.error))
    assert there.degrees == pytest.approx(back.degrees)


def test_more_trainings_of_the_same_kind_tell_more() -> None:
    rng, sds = np.random.default_rng(5), (0.2, 1.0, 0.1, 0.5)
    widths = [np.mean([np.ptp(compare(*drawn(rng, 0.2, count, 200, sds)[:2]).difference.interval())
                       for _ in range(30)]) for count in (2, 3, 6)]
    assert widths[0] > widths[1] > widths[2]


def test_one_training_on_a_side_is_the_first_against_the_first() -> None:
    found = compare(of(0.7, 0.1), of(0.5))
    assert (found.trainings, found.basis) == ((1, 1), "one training each")
    assert (found.first, found.second) == (0.7, 0.5)
    assert found.difference == compare(of(0.7), of(0.5, 0.9)).difference


def test_only_images_and_draws_that_all_have_are_compared() -> None:
    rng = np.random.default_rng(6)
    first = [outcome(rng.random(shape) < 0.5) for shape in ((90, 20), (100, 10))]
    second = [outcome(rng.random((80, 1)) < 0.5) for _ in range(2)]
    found = compare(first, second)
    assert found.first == pytest.approx(np.mean([each.correct[:80, :10].mean() for each in first]))
    assert found.second == pytest.approx(np.mean([each.correct.mean() for each in second]))


def test_a_single_draw_for_all_images_says_nothing_of_other_draws() -> None:
    rng = np.random.default_rng(8)
    sides = [[replace(outcome(rng.random((50, 1)) < 0.5), groups=np.zeros(50, dtype=np.int64)) for _ in range(3)]
             for _ in range(2)]
    found = compare(*sides).difference
    assert found.interval() == (-1, 1)
    assert found.p_value == 1


def test_mean_and_standard_deviation() -> None:
    assert spread([1.0, 2.0, 4.0]) == pytest.approx((7 / 3, math.sqrt(7 / 3)))
